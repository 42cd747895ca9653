"""The spool without a broker: its directory, its thread, and what is drained in which order."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.errors import BrokerUnavailableError, SettingsError, UnroutableError
from eventflow.message import Message
from eventflow.spool.store import SpoolFullError
from eventflow.telemetry.tracers import NoTracer
from eventflow_collector.spool.directory import RESERVE_MAX_BYTES, Disk, SpoolDirectory, room_bytes
from eventflow_collector.spool.file import SpoolFile
from eventflow_collector.spool.sender import SpoolSender
from tests.support.spool_files import flip_a_bit, record
from tests.support.wait import eventually

MIB = 1024 * 1024


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
    file = SpoolFile(
        directory.files.claim_free(),
        directory,
        on_changed=lambda: None,
        on_confirmed=lambda: None,
        on_corrupted=on_corrupted,
    )
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
    file = SpoolFile(
        directory.files.claim_free(),
        directory,
        on_changed=lambda: None,
        on_confirmed=lambda: None,
        on_corrupted=lambda: None,
    )
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
