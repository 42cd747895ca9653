"""A CA of our own and certificates by it, made by the program `openssl`."""

import shutil
import subprocess
from pathlib import Path

from tests.support.means import cannot


class Authority:
    """A CA whose files are in a directory."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            cannot("certificates need the program openssl")
        self._directory = directory
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        made = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(self._key), "-out", str(self.certificate))
        _openssl("req", "-x509", *made, "-subj", "/CN=CA of a test", "-days", "2")

    def issue(self, *names: str, days: int = 2) -> Path:
        """Return a PEM file with a certificate for `names` (`DNS:a.test`, `IP:127.0.0.1`) and its key.

        Args:
            days: How long it is valid from now on; below 0 it has expired.
        """
        stem = self._directory / f"leaf{len(list(self._directory.iterdir()))}"
        request, key, made, extensions = (stem.with_suffix(f".{end}") for end in ("csr", "key", "crt", "ext"))
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        _openssl(
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(request), "-subj", "/"
        )
        by = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial")
        _openssl(
            "x509", "-req", "-in", str(request), "-out", str(made), *by, "-days", str(days), "-extfile", str(extensions)
        )
        whole = stem.with_suffix(".pem")
        whole.write_text(made.read_text() + key.read_text())
        return whole


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)
