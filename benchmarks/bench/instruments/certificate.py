"""A certificate for a target on loopback, made for one run by the program `openssl`."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench.figures import MeasureError
from sandbox.ports import LOOPBACK


@contextmanager
def made() -> Iterator[Path]:
    """Yield a PEM file with a certificate and its key. The certificate is its own authority.

    Raises:
        MeasureError: There is no `openssl`, or it failed.
    """
    if shutil.which("openssl") is None:
        raise MeasureError("a certificate for the target needs the program openssl")
    with tempfile.TemporaryDirectory() as directory:
        pem = Path(directory) / "target.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", f"/CN={LOOPBACK}", "-addext", f"subjectAltName=IP:{LOOPBACK}", "-days", "2"]
        done = subprocess.run([*command, "-keyout", pem, "-out", "-"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MeasureError(f"openssl made no certificate: {done.stderr.strip()}")
        pem.write_text(pem.read_text() + done.stdout)
        yield pem
