"""One broker and one database for all tests of a run, also if they run in several processes.

The process in which the run began owns the servers. It starts each when a test first needs it, and ends it with the
run. So a worker of pytest-xdist may end or crash while the others go on, and the servers end if the run is killed.
"""

import contextlib
import json
import shutil
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from typing_extensions import override

import sandbox.broker.provision
import sandbox.database.provision
from sandbox.broker.node import PrivateNode
from sandbox.provided import NotAvailable

Address = tuple[str, int]

RARE_LOOKS = "-rabbit quorum_tick_interval 60000 -rabbit collect_statistics_interval 60000"
"""Arguments of the Erlang VM. By default RabbitMQ looks at each queue every 5 s. The tests leave some thousand queues
behind, and these looks would take a tenth of their processor time."""

MEMORY = Path("/dev/shm")
ROOM_MIN_BYTES = 4 << 30


def fast_place() -> Path | None:
    """Return a file system in memory if it has room for the data of the servers; None if there is none.

    In memory a broker needs half the processor time and a third of the time for many small writes to the disk. The
    tests kill processes, not machines, and both kinds of file system keep the data of a killed process.
    """
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM_MIN_BYTES else None
    except OSError:
        return None


@contextmanager
def broker(given: str | None, directory: Path) -> Iterator[str]:
    """Yield the URL of the broker that is given, or else of a private one with its data in a directory."""
    environ = {sandbox.broker.provision.URL_VARIABLE: given} if given else {}
    with contextlib.ExitStack() as stack:
        provided = stack.enter_context(
            sandbox.broker.provision.provide(directory, environ=environ, erl_args=RARE_LOOKS)
        )
        if isinstance(provided.node, PrivateNode):
            stack.callback(provided.node.kill)  # its data are deleted in any case, and a clean stop takes 6 s
        yield provided.url


@contextmanager
def database(given: str | None, directory: Path) -> Iterator[str]:
    """Yield the URL of the database that is given, or else of a private server with its data in a directory."""
    environ = {sandbox.database.provision.URL_VARIABLE: given} if given else {}
    with sandbox.database.provision.provide(directory, environ=environ) as provided:
        yield provided.url


class ServerSource(Protocol):
    """Source of the URL of a server for the tests of one process."""

    def url(self) -> str:
        """Return the URL; start the server first if needed.

        Raises:
            NotAvailable: There is no server.
        """

    def close(self) -> None:
        """End what was started here."""


class OwnServer(ServerSource):
    """A server that this process starts when needed, and then once."""

    def __init__(self, start: Callable[[], AbstractContextManager[str]]) -> None:
        self._start = start
        self._stack = contextlib.ExitStack()
        self._url: str | None = None
        self._problem: NotAvailable | None = None

    @override
    def url(self) -> str:
        if self._problem is not None:
            raise self._problem  # a second attempt would wait as long as the first
        if self._url is None:
            try:
                self._url = self._stack.enter_context(self._start())
            except NotAvailable as problem:
                self._problem = problem
                raise
        return self._url

    @override
    def close(self) -> None:
        self._stack.close()


class ServedServer(ServerSource):
    """Another source that workers can ask over a socket: one after the other, so that the server starts only once."""

    def __init__(self, source: ServerSource) -> None:
        self._source = source
        self._server = socketserver.TCPServer(("127.0.0.1", 0), self._answer)
        self._thread = threading.Thread(target=self._server.serve_forever, name="shared-server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Address for `RemoteServer`."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @override
    def url(self) -> str:
        return self._source.url()

    @override
    def close(self) -> None:
        self._server.shutdown()  # waits for an answer in progress, so the server is not closed while it starts
        self._thread.join()
        self._server.server_close()
        self._source.close()

    def _answer(self, connection: socket.socket, _address: Address, _server: socketserver.BaseServer) -> None:
        try:
            answer = {"url": self._source.url()}
        except NotAvailable as problem:
            answer = {"problem": str(problem)}
        connection.sendall(json.dumps(answer).encode())


class RemoteServer(ServerSource):
    """The server of the process that serves it at `address`."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @override
    def url(self) -> str:
        with socket.create_connection(self._address) as connection, connection.makefile("rb") as answer:
            found = json.loads(answer.read())
        if "problem" in found:
            raise NotAvailable(found["problem"])
        return str(found["url"])

    @override
    def close(self) -> None:
        """Do nothing: the server outlives this process."""
