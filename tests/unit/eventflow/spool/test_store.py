"""A file of the spool: its rows over any number of openings, its size, and its damages."""

import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.message import Message
from eventflow.spool.store import Record, SpoolCorruptedError, SpoolFullError, Store
from tests.support.attributes import attributes
from tests.support.spool_files import flip_a_bit, record

MIB = 1024 * 1024

ATTRIBUTES = attributes()
messages = st.builds(
    Message,
    body=st.binary(max_size=9000),
    headers=st.dictionaries(ATTRIBUTES, ATTRIBUTES | st.integers(-(2**31), 2**31 - 1), max_size=4),
    content_type=st.none() | ATTRIBUTES,
    content_encoding=st.none() | ATTRIBUTES,
    message_id=st.just("the first one"),
)
records = st.builds(
    Record,
    queue=ATTRIBUTES,
    message=messages,
    accepted_at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


def contents(stored: Record) -> tuple[object, ...]:
    message = stored.message
    return stored.queue, message.body, dict(message.headers), message.content_type, message.content_encoding


def all_rows(store: Store) -> dict[int, tuple[object, ...]]:
    rows = {}
    while page := store.read(after=max(rows, default=0), max_events=3, max_bytes=10_000):
        rows |= {row.seq: contents(row.record) for row in page}
    return rows


@given(st.lists(records, min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_events_come_back_exactly_as_they_were_put_and_in_order(given_records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "a.sqlite3")
        assert store.apply(given_records) == list(range(1, len(given_records) + 1))
        store.close()
        store = Store(Path(directory) / "a.sqlite3")
        rows = store.read(after=0, max_events=10, max_bytes=MIB)
        assert [contents(row.record) for row in rows] == [contents(one) for one in given_records]
        oldest = store.usage().oldest
        assert oldest is not None
        assert abs(oldest - given_records[0].accepted_at) < timedelta(milliseconds=1)
        assert "the first one" not in {row.record.message.message_id for row in rows}
        assert len({row.record.message.message_id for row in rows}) == len(rows)
        store.close()


@given(st.lists(st.tuples(st.lists(records, max_size=3), st.sets(st.integers(1, 12)), st.booleans()), max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_file_holds_what_was_put_and_not_deleted_over_any_number_of_openings(
    steps: list[tuple[list[Record], set[int], bool]],
) -> None:
    expected: dict[int, tuple[object, ...]] = {}
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "a.sqlite3")
        for put, deleted, reopen in steps:
            seqs = store.apply(put, delete=deleted)
            expected |= zip(seqs, map(contents, put), strict=True)
            expected = {seq: one for seq, one in expected.items() if seq not in deleted}
            if reopen:
                store.close()
                store = Store(Path(directory) / "a.sqlite3")
            assert all_rows(store) == expected
            assert store.usage().events == len(expected)
        store.close()


def test_an_empty_file_uses_nothing_and_gives_the_disk_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3")
    assert (store.usage().events, store.usage().size_bytes, store.usage().oldest) == (0, 0, None)
    seqs = store.apply([record(b"x" * 100_000) for _ in range(30)])
    assert 3_000_000 < store.usage().size_bytes < 3_500_000
    store.apply([], delete=seqs)
    store.shrink()
    assert store.usage().size_bytes == 0
    assert (tmp_path / "a.sqlite3").stat().st_size < 20_000
    assert store.apply([record()]) == [31], "numbers are not given out twice"
    store.close()


def test_a_file_is_its_owners_only_and_so_is_its_journal(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()


def test_a_full_disk_refuses_all_of_a_batch_and_leaves_the_file_sound(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3")
    store.apply([record(b"kept")])
    store._connection.execute("PRAGMA max_page_count=20")
    with pytest.raises(SpoolFullError):
        store.apply([record(b"small"), record(b"x" * 200_000)])
    assert [row[1] for row in all_rows(store).values()] == [b"kept"]
    assert store.apply([record(b"small")], delete=[1]) == [2]
    store.close()
    store = Store(tmp_path / "a.sqlite3")
    assert [row[1] for row in all_rows(store).values()] == [b"small"]
    store.close()


def test_what_is_no_spool_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "garbage.sqlite3").write_bytes(b"not a database, by far" * 1000)
    with sqlite3.connect(tmp_path / "other.sqlite3") as other:
        other.execute("CREATE TABLE events (anything)")
    other.close()
    for path in tmp_path.iterdir():
        with pytest.raises(SpoolCorruptedError):
            Store(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3")
    store.apply([record(b"\x01"), record()])
    store.close()
    flip_a_bit(tmp_path / "a.sqlite3")
    store = Store(tmp_path / "a.sqlite3")
    with pytest.raises(SpoolCorruptedError, match="row 1"):
        store.read(after=0, max_events=10, max_bytes=MIB)
    store.close()


def test_unreadable_rows_are_set_aside_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    store = Store(path)
    store.apply([record(b"\x01"), record(b"two"), record(b"three", queue="other"), record(b"four")])
    store.close()
    flip_a_bit(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET queue = CAST(x'ff' AS TEXT) WHERE seq = 4")
    connection.close()
    store = Store(path)
    assert store.set_unreadable_aside() == [1, 4]
    assert [row[1] for row in all_rows(store).values()] == [b"two", b"three"]
    assert store.count_by_queue() == {"q": 1, "other": 1}
    store.apply([], delete=[2, 3])
    assert store.count_by_queue() == {}
    store.close()
    store = Store(path)
    assert store.usage().events == 2, "the unreadable rows are still there"
    store.close()
