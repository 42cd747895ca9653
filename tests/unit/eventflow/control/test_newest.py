"""The order of overrides that two readers of a stream deliver."""

import pytest

from eventflow.control.newest import EMPTY_OFFSET, NewestOverrides, Reader

FLOW = "orders"


class Fixture:
    """Two readers, and the documents that counted."""

    def __init__(self) -> None:
        self.applied: list[bytes | None] = []
        self.newest = NewestOverrides(lambda _, body: self.applied.append(body))
        self.fast, self.slow = self.newest.begin(), self.newest.begin()

    def read(self, reader: Reader, *offsets: int, of: str = "") -> None:
        for offset in offsets:
            self.newest.deliver(reader, FLOW, offset, f"{of}{offset}".encode())


@pytest.fixture
def both() -> Fixture:
    return Fixture()


def test_each_document_counts_once_and_an_old_one_never_after_a_newer_one(both: Fixture) -> None:
    both.read(both.fast, 5, 6, 7)
    both.read(both.slow, 5)
    both.read(both.fast, 8)
    both.read(both.slow, 6, 7, 8, 9)
    both.read(both.fast, 9)
    assert both.applied == [b"5", b"6", b"7", b"8", b"9"]


def test_offsets_of_flows_are_independent(both: Fixture) -> None:
    both.newest.deliver(both.fast, "orders", 7, b"seven")
    both.newest.deliver(both.slow, "invoices", 2, b"two")
    assert both.applied == [b"seven", b"two"]


def test_a_reader_that_lacks_what_the_other_has_delivered_is_not_current(both: Fixture) -> None:
    both.read(both.fast, 7)
    both.read(both.slow, 6)
    assert both.newest.is_current(both.fast)
    assert not both.newest.is_current(both.slow)
    both.read(both.slow, 7)
    assert both.newest.is_current(both.slow)
    assert both.applied == [b"7"]


def test_a_reader_of_a_stale_replica_undoes_nothing_while_another_one_is_current(both: Fixture) -> None:
    both.read(both.fast, 7)
    assert both.newest.is_current(both.fast)
    both.newest.end(both.slow, is_cancelled=False)
    stale, empty = both.newest.begin(), both.newest.begin()
    both.read(stale, 3)
    both.newest.deliver(empty, FLOW, EMPTY_OFFSET, None)
    assert not both.newest.is_current(stale)
    assert not both.newest.is_current(empty)
    assert both.applied == [b"7"]


@pytest.mark.parametrize("offset", [7, 3])
def test_a_stream_that_was_declared_again_counts_when_the_last_reader_of_the_old_one_has_ended(
    both: Fixture, offset: int
) -> None:
    both.read(both.fast, 7)
    assert both.newest.is_current(both.fast)
    both.read(both.slow, offset, of="new ")
    assert not both.newest.is_current(both.slow)
    both.newest.end(both.fast, is_cancelled=False)
    assert not both.newest.has(both.slow), "it must read again: its replica could be one that lags"
    again = both.newest.begin()
    both.read(again, offset, of="new ")
    assert both.newest.is_current(again)
    assert both.applied == [b"7", f"new {offset}".encode()]


def test_a_reader_that_has_just_begun_goes_on_when_another_one_fails(both: Fixture) -> None:
    both.newest.deliver(both.fast, "invoices", 2, b"two")
    both.read(both.fast, 7)
    both.read(both.slow, 7)
    both.newest.end(both.fast, is_cancelled=False)
    both.newest.deliver(both.slow, "invoices", 0, b"new")
    assert both.newest.is_current(both.slow)
    assert both.applied == [b"two", b"7", b"new"]


def test_if_a_reader_is_cancelled_no_other_one_counts_any_more(both: Fixture) -> None:
    """RabbitMQ 3.10 does not notify each consumer if a queue is deleted and declared again at once."""
    both.read(both.fast, 7)
    both.read(both.slow, 7)
    assert both.newest.is_current(both.fast)
    assert both.newest.is_current(both.slow)
    both.newest.end(both.fast, is_cancelled=True)
    assert not both.newest.has(both.slow)
    assert not both.newest.is_current(both.slow)
    again = both.newest.begin()
    both.read(again, 0, of="new ")
    both.read(both.slow, 8)
    assert both.newest.is_current(again)
    assert both.applied == [b"7", b"new 0"]


def test_after_a_reconnect_of_the_only_reader_what_it_reads_counts() -> None:
    both = Fixture()
    both.newest.end(both.slow, is_cancelled=False)
    both.read(both.fast, 7)
    assert both.newest.is_current(both.fast)
    both.newest.end(both.fast, is_cancelled=False)
    again = both.newest.begin()
    both.read(again, 0, of="new ")
    both.read(both.fast, 8)
    assert both.newest.is_current(again)
    assert both.applied == [b"7", b"new 0"]
