"""The spool without a broker: its file, its directory, its thread, and what is drained in which order."""

import asyncio
import itertools
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.errors import BrokerUnavailableError, SettingsError, UnroutableError
from eventflow.message import Message, new_message_id
from eventflow.spool.store import Record, SpoolCorruptedError, SpoolFullError, Store
from eventflow.telemetry.tracers import NoTracer
from eventflow_collector.spool.directory import RESERVE_MAX_BYTES, Disk, SpoolDirectory, room_bytes
from eventflow_collector.spool.file import SpoolFile
from eventflow_collector.spool.sender import SpoolSender
from tests.support.attributes import attributes
from tests.support.wait import eventually

MIB = 1024 * 1024
ACCEPTED_AT = datetime(2025, 7, 13, 21, 34, 44, 573000, tzinfo=UTC)

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


def record(body: bytes = b"{}", *, queue: str = "q", accepted_at: datetime = ACCEPTED_AT) -> Record:
    message = Message(body=body, headers={"cloudEvents:id": "1"}, message_id=new_message_id())
    return Record(queue=queue, message=message, accepted_at=accepted_at)


def contents(stored: Record) -> tuple[object, ...]:
    message = stored.message
    return stored.queue, message.body, dict(message.headers), message.content_type, message.content_encoding


def all_rows(store: Store) -> dict[int, tuple[object, ...]]:
    rows = {}
    while page := store.read(after=max(rows, default=0), max_events=3, max_bytes=10_000):
        rows |= {row.seq: contents(row.record) for row in page}
    return rows


# The file


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


def flip_a_bit(path: Path) -> None:
    """Damage the body of the first row as a failing disk would: the database itself stays well-formed."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET body = x'00' WHERE seq = 1")
    connection.close()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3")
    store.apply([record(b"\x01"), record()])
    store.close()
    flip_a_bit(tmp_path / "a.sqlite3")
    store = Store(tmp_path / "a.sqlite3")
    with pytest.raises(SpoolCorruptedError, match="row 1"):
        store.read(after=0, max_events=10, max_bytes=MIB)
    store.close()


# The directory


sizes = st.integers(0, 2**40)


@given(used=sizes, journal=sizes, bound=sizes, size=sizes, free=sizes)
def test_room_ends_at_the_bound_and_where_file_and_journal_would_reach_the_reserve(
    used: int, journal: int, bound: int, size: int, free: int
) -> None:
    room = room_bytes(
        used_bytes=used, journal_bytes=journal, max_bytes=bound, disk=Disk(size_bytes=size, free_bytes=free)
    )
    assert room >= 0
    if room:
        assert used + room <= bound
        assert free - journal - 2 * room >= min(RESERVE_MAX_BYTES, int(size * 0.05))


def directory_at(path: Path, *, max_bytes: int = 1024 * MIB) -> SpoolDirectory:
    directory = SpoolDirectory(path, max_bytes=max_bytes)
    directory.prepare()
    return directory


def test_the_directory_is_made_private_and_one_of_the_spools_own_is_closed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    for name in ("spool-0.sqlite3", "spool-0.lock", "spool-0.sqlite3-wal", "lost+found"):
        (own / name).touch()
    for path in (tmp_path / "new" / "one", own):
        directory_at(path)
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_of_other_programs_is_left_as_open_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SPOOL_DIR=/tmp, as root, would close it to all other programs."""
    tmp_path.chmod(0o777)
    (tmp_path / "socket").touch()
    directory_at(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o777
    assert "it holds socket" in capsys.readouterr().out


def test_a_directory_that_cannot_be_one_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"EVENTFLOW_COLLECTOR__SPOOL_DIR = '.*file'"):
        directory_at(tmp_path / "file")


def test_a_file_has_one_owner_and_the_first_that_is_free_is_taken(tmp_path: Path) -> None:
    directory = directory_at(tmp_path)
    first, second = directory.files.claim_free(), directory.files.claim_free()
    assert first.path != second.path
    first.release()
    again = directory.files.claim_free()
    assert again.path == first.path
    again.release()
    second.release()


def test_abandoned_files_are_claimed_once_and_removed_with_their_locks(tmp_path: Path) -> None:
    directory = directory_at(tmp_path)
    claims = [directory.files.claim_free() for _ in range(3)]
    for claim in claims:
        claim.path.touch()
    assert list(directory.files.claim_abandoned()) == []
    claims[1].release()
    [adopted] = directory.files.claim_abandoned()
    assert adopted.path == claims[1].path
    assert list(directory.files.claim_abandoned()) == []
    adopted.remove()
    assert not [path for path in tmp_path.iterdir() if path.stem == adopted.path.stem]
    again = directory.files.claim_free()
    assert again.path == adopted.path
    for claim in (claims[0], again, claims[2]):
        claim.release()


def test_other_files_count_towards_the_bound(tmp_path: Path) -> None:
    directory = directory_at(tmp_path, max_bytes=100_000)
    own, other = tmp_path / "own.sqlite3", tmp_path / "other.sqlite3"
    assert directory.room_bytes(own, used_bytes=0) == 100_000
    other.write_bytes(b"x" * 60_000)
    assert directory.room_bytes(own, used_bytes=10_000) == 30_000
    assert directory.room_bytes(own, used_bytes=50_000) == 0


# The thread


@dataclass(slots=True)
class FakePublication:
    """A publish whose end a test decides."""

    is_confirmed: bool = False
    error: Exception | None = None
    _resolved: asyncio.Event = field(default_factory=asyncio.Event)
    _callbacks: list[Callable[[], None]] = field(default_factory=list)

    def on_resolved(self, callback: Callable[[], None]) -> None:
        if self._resolved.is_set():
            asyncio.get_running_loop().call_soon(callback)
        self._callbacks.append(callback)

    def resolve(self, error: Exception | None = None) -> None:
        self.is_confirmed, self.error = error is None, error
        self._resolved.set()
        for callback in self._callbacks:
            callback()

    async def confirmed(self, *, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 can lose a cancellation
            await self._resolved.wait()
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def opened(
    path: Path, *, max_bytes: int = 1024 * MIB, on_corrupted: Callable[[], None] = lambda: None
) -> AsyncIterator[SpoolFile]:
    directory = directory_at(path, max_bytes=max_bytes)
    file = SpoolFile(directory.files.claim_free(), directory, on_changed=lambda: None, on_corrupted=on_corrupted)
    try:
        yield file
    finally:
        await file.close()


def set_aside(directory: Path) -> list[Path]:
    return list(directory.glob("*.corrupt-*Z"))


async def bodies(file: SpoolFile) -> list[bytes]:
    return [row.record.message.body for row in await file.read(after=0)]


async def test_what_was_put_at_once_is_kept_in_that_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as file:
        await asyncio.gather(*(file.put(record(b"%d" % number)) for number in range(200)))
    async with opened(tmp_path) as file:
        assert await bodies(file) == [b"%d" % number for number in range(200)]
        assert file.sendable_events == 200


async def test_an_event_whose_publish_is_unresolved_is_held_and_goes_with_its_late_confirm(tmp_path: Path) -> None:
    late, lost = FakePublication(), FakePublication()
    async with opened(tmp_path) as file:
        await file.put(record(b"late"), unresolved=late)
        await file.put(record(b"lost"), unresolved=lost)
        await file.put(record(b"free"))
        assert await bodies(file) == [b"free"]
        late.resolve()
        lost.resolve(BrokerUnavailableError("the connection was lost"))
        await eventually(lambda: file.usage.events == 2, what="the confirmed one deleted")
        assert await bodies(file) == [b"lost", b"free"]
        await file.until_resolved()


async def test_a_publish_that_is_confirmed_while_its_event_is_being_put_leaves_nothing_behind(tmp_path: Path) -> None:
    async with opened(tmp_path) as file:
        late = FakePublication()
        putting = asyncio.create_task(file.put(record(), unresolved=late))
        await asyncio.sleep(0)
        late.resolve()
        await putting
        await eventually(lambda: file.is_empty, what="an empty file")


async def test_a_full_spool_refuses_until_there_is_room_again(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=100_000) as file:
        ends = [await asyncio.gather(file.put(record(b"x" * 5000)), return_exceptions=True) for _ in range(30)]
        kept = ends.count([None])
        assert 10 <= kept <= 20
        assert {type(end) for [end] in ends[kept:]} == {SpoolFullError}
        await eventually(lambda: file.is_full, what="full")
        assert file.usage.size_bytes <= 100_000
        done = FakePublication()
        for row in await file.read(after=0):
            file.hold(row.seq, done)
        done.resolve()
        await eventually(lambda: file.is_empty and not file.is_full, what="empty, and room again")
        await file.put(record(b"x" * 5000))


async def test_a_corrupted_file_is_moved_aside_counted_and_replaced_when_it_is_opened(tmp_path: Path) -> None:
    found: list[str] = []
    (tmp_path / "spool-0.sqlite3").write_bytes(b"garbage" * 1000)
    async with opened(tmp_path, on_corrupted=lambda: found.append("one")) as file:
        await file.put(record(b"new"))
        assert await bodies(file) == [b"new"]
    [aside] = set_aside(tmp_path)
    assert aside.read_bytes() == b"garbage" * 1000
    assert found == ["one"]


async def test_a_file_that_turns_out_corrupted_at_run_time_is_moved_aside_whole_and_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path) as file:
        await file.put(record(b"\x01"))
        await file.put(record(b"old"))
    flip_a_bit(tmp_path / "spool-0.sqlite3")
    found: list[str] = []
    async with opened(tmp_path, on_corrupted=lambda: found.append("one")) as file:
        await file.put(record(b"old too"))
        assert await bodies(file) == [], "the damage was found in reading"
        await file.put(record(b"new"))
        rows = await file.read(after=0)
        assert [row.record.message.body for row in rows] == [b"old", b"old too", b"new"], "what is sound goes on"
        assert rows[0].seq > 3, "a number that is held may not come to mean another event"
        assert found == ["one"]
        [aside] = set_aside(tmp_path)
        copy = sqlite3.connect(aside)
        assert [body for (body,) in copy.execute("SELECT body FROM events")] == [b"\x00", b"old", b"old too"]
        copy.close()


async def test_a_damaged_page_costs_only_the_events_on_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as file:
        await asyncio.gather(*(file.put(record(b"%05d" % number * 600)) for number in range(200)))
    path = tmp_path / "spool-0.sqlite3"
    content = bytearray(path.read_bytes())
    content[50 * 4096 : 51 * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    async with opened(tmp_path) as file:
        await eventually(lambda: file.is_open, what="an open file")
        assert 190 <= file.usage.events < 200
        expected = [b"%05d" % number * 600 for number in range(200)]
        assert [body for body in expected if body in set(await bodies(file))] == await bodies(file)
        assert await asyncio.to_thread(path.read_bytes) != content


async def test_a_thread_that_fails_of_a_bug_says_so_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    directory = directory_at(tmp_path)
    file = SpoolFile(directory.files.claim_free(), directory, on_changed=lambda: None, on_corrupted=lambda: None)
    await file.put(record())
    file._executor.do = lambda work: 1 // 0  # type: ignore[method-assign,return-value]
    with pytest.raises(ZeroDivisionError):
        await file.until_failed()
    with pytest.raises(Exception, match="closed"):
        await file.put(record())
    await file.close()


# The sender


@dataclass(slots=True)
class FakePublisher:
    """Confirms whatever it is not told to refuse; takes `until_down` publishes and is away then."""

    refused_queues: Sequence[str] = ()
    until_down: int | None = None
    state: str = "up"
    sent: list[bytes] = field(default_factory=list)

    def publish(self, message: Message, *, queue: str) -> FakePublication:
        if self.until_down is not None and len(self.sent) >= self.until_down:
            self.state = "down"
            raise BrokerUnavailableError("no connection to the broker")
        publication = FakePublication()
        error = UnroutableError("no queue") if queue in self.refused_queues else None
        if error is None:
            self.sent.append(message.body)
        asyncio.get_running_loop().call_soon(publication.resolve, error)
        return publication


@asynccontextmanager
async def draining(file: SpoolFile, publisher: FakePublisher) -> AsyncIterator[None]:
    sender = SpoolSender(
        file,
        publisher,  # type: ignore[arg-type]
        can_send=lambda: publisher.state == "up",
        confirm_timeout_s=1,
        tracer=NoTracer(),
    )
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_events_are_sent_in_order_over_windows_and_interruptions(tmp_path: Path) -> None:
    numbered = [b"%d" % number for number in range(700)]
    async with opened(tmp_path) as file:
        await asyncio.gather(*(file.put(record(body)) for body in numbered))
        publisher = FakePublisher(until_down=300)
        async with draining(file, publisher):
            await eventually(
                lambda: publisher.state == "down" and file.usage.events == 400, what="those confirmed gone"
            )
            publisher.until_down, publisher.state = None, "up"
            await eventually(lambda: file.is_empty, what="all of them gone")
        assert publisher.sent == numbered


async def test_an_event_that_the_broker_refuses_stays_and_holds_nothing_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as file:
        for number, queue in zip(range(6), itertools.cycle(("good", "gone")), strict=False):
            await file.put(record(b"%d" % number, queue=queue))
        publisher = FakePublisher(refused_queues=["gone"])
        async with draining(file, publisher):
            await eventually(lambda: file.usage.events == 3, what="the good ones gone")
            assert publisher.sent == [b"0", b"2", b"4"]
            assert await bodies(file) == [b"1", b"3", b"5"]
            publisher.refused_queues = []
            await eventually(lambda: file.is_empty, what="the others gone too")
        assert publisher.sent == [b"0", b"2", b"4", b"1", b"3", b"5"]
