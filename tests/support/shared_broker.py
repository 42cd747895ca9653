"""One broker for all tests of a run, also if they run in several processes.

The process in which the run began owns the broker. It starts the broker when a test first needs it, and ends it with
the run. So a worker of pytest-xdist may end or crash while the others go on, and the broker ends if the run is killed.
"""

import contextlib
import json
import shutil
import socket
import socketserver
import threading
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from sandbox.broker import provision
from sandbox.broker.node import PrivateNode
from sandbox.broker.provision import BrokerNotAvailable

Address = tuple[str, int]

RARE_LOOKS = "-rabbit quorum_tick_interval 60000 -rabbit collect_statistics_interval 60000"
"""Arguments of the Erlang VM. By default RabbitMQ looks at each queue every 5 s. The tests leave some thousand queues
behind, and these looks would take a tenth of their processor time."""

MEMORY = Path("/dev/shm")
ROOM_MIN_BYTES = 4 << 30


def fast_place() -> Path | None:
    """Return a file system in memory if it has room for the data of brokers; None if there is none.

    In memory a broker needs half the processor time and a third of the time for many small writes to the disk. The
    tests kill processes, not machines, and both kinds of file system keep the data of a killed process.
    """
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM_MIN_BYTES else None
    except OSError:
        return None


class BrokerSource(Protocol):
    """Source of the broker's URL for the tests of one process."""

    def url(self) -> str:
        """Return the URL; start the broker first if needed.

        Raises:
            BrokerNotAvailable: There is no broker.
        """

    def close(self) -> None:
        """End what was started here."""


class OwnBroker(BrokerSource):
    """The broker that an AMQP URL names, or without one a private broker, started when needed and then once.

    Args:
        given: URL, or None.
        directory: Directory for the data of a private broker.
    """

    def __init__(self, given: str | None, directory: Path) -> None:
        self._directory = directory
        self._environ = {provision.URL_VARIABLE: given} if given else {}
        self._stack = contextlib.ExitStack()
        self._url: str | None = None
        self._problem: BrokerNotAvailable | None = None

    @override
    def url(self) -> str:
        if self._problem is not None:
            raise self._problem  # a second attempt would wait as long as the first
        if self._url is None:
            try:
                self._url = self._start()
            except BrokerNotAvailable as problem:
                self._problem = problem
                raise
        return self._url

    @override
    def close(self) -> None:
        self._stack.close()

    def _start(self) -> str:
        providing = provision.provide(self._directory, environ=self._environ, erl_args=RARE_LOOKS)
        broker = self._stack.enter_context(providing)
        if isinstance(broker.node, PrivateNode):
            self._stack.callback(broker.node.kill)  # its data are deleted in any case, and a clean stop takes 6 s
        return broker.url


class ServedBroker(BrokerSource):
    """Another source that workers can ask over a socket: one after the other, so that the broker starts only once."""

    def __init__(self, source: BrokerSource) -> None:
        self._source = source
        self._server = socketserver.TCPServer(("127.0.0.1", 0), self._answer)
        self._thread = threading.Thread(target=self._server.serve_forever, name="shared-broker", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Address for `RemoteBroker`."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @override
    def url(self) -> str:
        return self._source.url()

    @override
    def close(self) -> None:
        self._server.shutdown()  # waits for an answer in progress, so the broker is not closed while it starts
        self._thread.join()
        self._server.server_close()
        self._source.close()

    def _answer(self, connection: socket.socket, _address: Address, _server: socketserver.BaseServer) -> None:
        try:
            answer = {"url": self._source.url()}
        except BrokerNotAvailable as problem:
            answer = {"problem": str(problem)}
        connection.sendall(json.dumps(answer).encode())


class RemoteBroker(BrokerSource):
    """The broker of the process that serves it at `address`."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @override
    def url(self) -> str:
        with socket.create_connection(self._address) as connection, connection.makefile("rb") as answer:
            found = json.loads(answer.read())
        if "problem" in found:
            raise BrokerNotAvailable(found["problem"])
        return str(found["url"])

    @override
    def close(self) -> None:
        """Do nothing: the broker outlives this process."""
