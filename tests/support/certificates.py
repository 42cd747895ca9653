"""Certificates for a test, and a front that speaks TLS for a broker that does not."""

import asyncio
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
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
        command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", *protection]
        command += ["-keyout", str(made.keyfile), "-out", str(made.certfile)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except FileNotFoundError as error:
            cannot(f"no openssl: {error}")
        return made


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
                [asyncio.create_task(_pump(reader, below[1])), asyncio.create_task(_pump(below[0], writer))]
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


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
