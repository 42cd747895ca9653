"""A server of a run, as workers see it: started once for all of them, and not before one asks."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from typing_extensions import override

from sandbox.provided import NotAvailable
from tests.support.shared_server import RemoteServer, ServedServer, ServerSource


class Counting(ServerSource):
    """A source that counts."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.asked = 0
        self.closed = 0

    @override
    def url(self) -> str:
        self.asked += 1
        if self.problem:
            raise NotAvailable(self.problem)
        return f"amqp://127.0.0.1:{self.asked}/"

    @override
    def close(self) -> None:
        self.closed += 1


def test_workers_ask_one_after_the_other_and_none_of_them_ends_the_server() -> None:
    source = Counting()
    served = ServedServer(source)
    workers = [RemoteServer(served.address) for _ in range(6)]
    assert source.asked == 0
    with ThreadPoolExecutor(len(workers)) as threads:
        urls = list(threads.map(RemoteServer.url, workers))
    for worker in workers:
        worker.close()
    assert sorted(urls) == [f"amqp://127.0.0.1:{number}/" for number in range(1, 7)]
    assert source.closed == 0
    served.close()
    assert source.closed == 1


def test_a_server_that_does_not_start_has_the_same_reason_in_each_worker() -> None:
    served = ServedServer(Counting(problem="not\ninstalled"))
    for _ in range(2):
        with pytest.raises(NotAvailable, match=r"^not\ninstalled$"):
            RemoteServer(served.address).url()
    served.close()
