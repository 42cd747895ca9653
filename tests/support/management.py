"""Servers that are no management API, or one that behaves badly."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eventflow.tasks import cancel_and_wait

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """The answer, and the reason why it is not usable; None if an answer of that kind is accepted."""

    answer: Answer
    reason: str | None


@asynccontextmanager
async def serving(answer: Answer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answer on a free port of loopback while the context is open; yields the URL."""
    tasks: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await cancel_and_wait(*tasks)


async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take everything and answer nothing."""
    await reader.read()


def answering(*parts: bytes, endless: bytes = b"") -> Answer:
    """Answer each request with the same bytes, which may have no end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in itertools.chain(parts, itertools.repeat(endless) if endless else ()):
            writer.write(part)
            await writer.drain()

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
GZIP = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
REFUSAL = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
ODD_QUEUES = b'[1, {"name": 2}, {"name": "eventflow.x.dead", "policy": [], "effective_policy_definition": [{}]}]'

STRANGERS = {
    "silence": Stranger(answer=never, reason="no answer within 5 s"),
    "no HTTP": Stranger(answer=answering(b"AMQP\x00\x00\x09\x01\r\n\r\n"), reason="Bad"),
    "headers": Stranger(answer=answering(b"HTTP/1.1 200 OK\r\n", endless=b"A: b\r\n"), reason=""),
    "a login page": Stranger(answer=answering(HEAD, b"<html>"), reason="its answer is not JSON"),
    "depth": Stranger(answer=answering(HEAD, b"[" * 100_000), reason="its answer is not JSON"),
    "a huge number": Stranger(answer=answering(HEAD, b"9" * 100_000), reason="its answer is not JSON"),
    "compressed": Stranger(answer=answering(GZIP, b"\x1f\x8b"), reason="its answer is not JSON"),
    "no list": Stranger(answer=answering(HEAD, b'{"items": 7}'), reason="is not RabbitMQ's management API"),
    "endless": Stranger(answer=answering(HEAD, endless=b"[" * 65536), reason="longer than 262144 bytes"),
    "many pages": Stranger(answer=answering(HEAD, b'{"items": [], "page_count": 1000000}'), reason="more than 20000"),
    "a redirect": Stranger(answer=answering(REDIRECT), reason="it answers HTTP 302"),
    "a refusal": Stranger(answer=answering(REFUSAL), reason="it does not let user 'guest' do that (HTTP 401)"),
    "no queues": Stranger(answer=answering(HEAD, b'{"items": []}'), reason="no queue of ours is listed"),
    "odd queues": Stranger(answer=answering(HEAD, b'{"items": ' + ODD_QUEUES + b"}"), reason=None),
}
