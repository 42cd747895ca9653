"""Files of certificates and keys, read for a TLS context. An error names the setting, the file and the reason."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


class UnusableCertificateError(ValueError):
    """A certificate or key cannot be used; names the setting, the file, and the reason."""


@contextmanager
def named(setting: str, path: str | None) -> Iterator[None]:
    """Translate the errors of reading a file into an `UnusableCertificateError`."""
    where = setting if path is None else f"{setting} = {path}"
    try:
        yield
    except UnusableCertificateError:
        raise
    except ssl.SSLError as error:
        reason = (error.reason or "it is not PEM").lower().replace("_", " ")
        raise UnusableCertificateError(f"{where}: {reason}") from error
    except (OSError, ValueError) as error:  # a ValueError for a zero byte in a path
        raise UnusableCertificateError(f"{where}: {getattr(error, 'strerror', None) or error}") from error


def check_readable(path: str | None) -> None:
    """Open a file. With two files, OpenSSL's error does not name the one that is missing.

    Raises:
        OSError: It cannot be opened.
    """
    if path is not None:
        with Path(path).open("rb"):
            pass


def load_own(
    context: ssl.SSLContext,
    certificate_file: str,
    key_file: str | None,
    *,
    names: tuple[str, str],
) -> None:
    """Load the certificate that this side shows, and its key.

    Args:
        context: The context that shows it.
        certificate_file: PEM; with the key too if `key_file` is None.
        key_file: PEM.
        names: The settings of both files.

    Raises:
        UnusableCertificateError: A file cannot be read, is not PEM, the key is not that of the certificate, or it has a
            passphrase.
    """
    certificate_setting, key_setting = names

    def no_passphrase() -> NoReturn:
        # Without a callback OpenSSL asks for the passphrase at the terminal, and waits.
        raise UnusableCertificateError(
            f"{key_setting} = {key_file or certificate_file}: a key without a passphrase is expected"
        )

    for setting, path in ((certificate_setting, certificate_file), (key_setting, key_file)):
        with named(setting, path):
            check_readable(path)
    both = certificate_setting if key_file is None else f"{key_setting} = {key_file}, {certificate_setting}"
    with named(both, certificate_file):
        context.load_cert_chain(certificate_file, key_file, password=no_passphrase)
