"""Certificates for a test, made by the program `openssl`, and a front that speaks TLS for a broker that does not."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.means import cannot
from tests.support.sockets import pump

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that is its own authority, and its key; both PEM."""

    certfile: Path
    keyfile: Path

    @classmethod
    def make(cls, directory: Path, *, name: str, passphrase: str | None = None) -> "Certificate":
        """Make one for a host's name."""
        made = cls(certfile=directory / f"{name}.pem", keyfile=directory / f"{name}.key")
        protection = ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
        names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        files = ("-keyout", str(made.keyfile), "-out", str(made.certfile))
        _openssl("req", "-x509", *NEW_KEY, *protection, *files, *names, "-days", "2")
        return made


class Authority:
    """A CA whose files are in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        files = ("-keyout", str(self._key), "-out", str(self.certificate))
        _openssl("req", "-x509", *NEW_KEY, "-nodes", *files, "-subj", "/CN=CA of a test", "-days", "2")

    def issue(self, *names: str, days: int = 2) -> Path:
        """Return a PEM file with a certificate for `names` (`DNS:a.test`, `IP:127.0.0.1`) and its key.

        Args:
            days: How long it is valid from now on; below 0 it has expired.
        """
        stem = self._directory / f"leaf{len(list(self._directory.iterdir()))}"
        request, key, made, extensions = (stem.with_suffix(f".{end}") for end in ("csr", "key", "crt", "ext"))
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        _openssl("req", "-new", *NEW_KEY, "-nodes", "-keyout", str(key), "-out", str(request), "-subj", "/")
        by = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial")
        _openssl(
            "x509", "-req", "-in", str(request), "-out", str(made), *by, "-days", str(days), "-extfile", str(extensions)
        )
        whole = stem.with_suffix(".pem")
        whole.write_text(made.read_text() + key.read_text())
        return whole

    def server_of(self, *names: str) -> ssl.SSLContext:
        """Return the TLS of a server with a certificate for `names`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.issue(*names))
        return context


def _openssl(*arguments: str) -> None:
    if shutil.which("openssl") is None:
        cannot("certificates need the program openssl")
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)


@contextmanager
def frozen_tls(certificate: Certificate) -> Iterator[int]:
    """End the handshake of every connection to a free port of loopback, and then do nothing; yields the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certfile, certificate.keyfile)
    kept: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                kept.append(context.wrap_socket(server.accept()[0], server_side=True))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


@asynccontextmanager
async def tls_front(broker_url: str, certificate: Certificate) -> AsyncIterator[str]:
    """Speak TLS on a free port and pass all on to a broker; yields an amqps URL without a query."""
    upstream = urlsplit(broker_url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certfile, certificate.keyfile)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        below = await asyncio.open_connection(upstream.hostname, upstream.port)
        with suppress(asyncio.CancelledError):
            await asyncio.wait(
                [asyncio.create_task(pump(reader, below[1])), asyncio.create_task(pump(below[0], writer))]
            )
        for end in (writer, below[1]):
            end.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"amqps://{upstream.username}:{upstream.password}@127.0.0.1:{port}{upstream.path}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
