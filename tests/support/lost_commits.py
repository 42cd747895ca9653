"""A proxy before PostgreSQL that loses the answer to a COMMIT, which the server has carried out."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class LostCommits:
    """Passes bytes on, until a transaction is to lose its answer.

    Attributes:
        url: URL of the database through the proxy.
        is_losing: Whether the answer to the next COMMIT is lost, together with its connection.
        lost: Number of answers that were lost.
    """

    def __init__(self, url: str) -> None:
        self.is_losing = False
        self.lost = 0
        self._parts = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login = self._parts.netloc.rpartition("@")[0]
        self.url = self._parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream_reader, upstream_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        answering = asyncio.create_task(_pass_on(upstream_reader, writer))
        try:
            while data := await reader.read(1 << 16):
                upstream_writer.write(data)
                if self.is_losing and b"COMMIT\0" in data:
                    self.is_losing = False
                    answering.cancel()
                    await asyncio.gather(answering, return_exceptions=True)
                    await upstream_reader.read(1)  # the server has answered, and so has the batch
                    self.lost += 1
                    break
        except OSError:
            pass
        finally:
            answering.cancel()
            for each in (writer, upstream_writer):
                each.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()
