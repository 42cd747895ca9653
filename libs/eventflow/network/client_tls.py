"""TLS for connections to a target: the CAs that are trusted there, and the certificate that is shown to it."""

import ssl
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import structlog

from eventflow.network.certificates import UnusableCertificateError, check_readable, load_own, named
from eventflow.network.tls_files import TlsFiles

LOOK_AGAIN_S = 10.0
"""A renewed file is used by connections that are opened this much later, or earlier."""

log = structlog.stdlib.get_logger()


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Make a context from the files as they are now.

    Raises:
        UnusableCertificateError: A file is missing, cannot be read, or is not a certificate or key.
    """
    if not files.paths:
        return _system_context()
    with named("ca_file", files.ca_file):
        check_readable(files.ca_file)
        context = ssl.create_default_context(cafile=files.ca_file)
    if files.certificate_file is not None:
        load_own(context, files.certificate_file, files.key_file, names=("client_certificate_file", "client_key_file"))
    context.set_alpn_protocols(("http/1.1",))
    return context


def context_for_tokens(files: TlsFiles) -> ssl.SSLContext:
    """Make a context for a token endpoint: it may be public beside a private target, or the reverse.

    So it trusts the CAs of the system and those in `ca_file`, and shows no certificate.

    Raises:
        UnusableCertificateError: `ca_file` cannot be used.
    """
    if files.ca_file is None:
        return _system_context()
    context = ssl.create_default_context()
    with named("ca_file", files.ca_file):
        context.load_verify_locations(files.ca_file)
    return context


class ClientTls:
    """The context for the next connection. It is made again after a file has changed."""

    def __init__(
        self,
        files: TlsFiles,
        *,
        make: Callable[[TlsFiles], ssl.SSLContext] = context_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files.

        Raises:
            UnusableCertificateError: As `make`.
        """
        self._files = files
        self._make = make
        self._clock = clock
        self._state = _state_of(files)
        self._looked_at_s = clock()
        self._context = make(files)

    @property
    def context(self) -> ssl.SSLContext:
        """The context. A renewed file that cannot be used is logged, and the context stays as it was."""
        if self._files.paths and self._clock() - self._looked_at_s >= LOOK_AGAIN_S:
            self._looked_at_s = self._clock()
            self._look_again()
        return self._context

    def _look_again(self) -> None:
        state = _state_of(self._files)
        if state == self._state:
            return
        self._state = state
        try:
            self._context = self._make(self._files)
        except UnusableCertificateError as error:
            # Perhaps only one of two files is renewed up to now. The other one will change the state again.
            log.warning("target.certificate_unusable", error=str(error), action="keeps the previous one")
        else:
            log.info("target.certificate_renewed", files=self._files.paths)


def _state_of(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    """Return values that change when a file is replaced or written."""
    return tuple(_stat_of(path) for path in files.paths)


def _stat_of(path: str) -> tuple[int, int, int] | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


@cache
def _system_context() -> ssl.SSLContext:
    """Return the context of all targets without files: the CAs of the system take a megabyte."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context
