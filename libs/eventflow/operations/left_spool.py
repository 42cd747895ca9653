"""A spool directory that no collector uses any more, and the sending of its events."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    InvalidInputError,
    MessageTooLargeError,
    PublishError,
    PublishTimeoutError,
)
from eventflow.operations.session import CONFIRM_TIMEOUT_S, Link, publishing
from eventflow.operations.tally import Tally
from eventflow.spool.claims import Claim, SpoolFiles
from eventflow.spool.store import Row, SpoolCorruptedError, SpoolUnavailableError, Store
from eventflow.topology import flow_of, ingest_specs

WINDOW_MAX_EVENTS = 256
"""Events that are published before their confirms are awaited. If the command is killed, so many may be sent twice."""

WINDOW_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftFile:
    """A file that can be read.

    Attributes:
        name: Its name in the directory.
        store: Its rows, without the unreadable ones.
        unreadable: Numbers of the rows that differ from the written ones. They stay in the file.
    """

    name: str
    store: Store
    unreadable: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftSpool:
    """An open directory.

    Attributes:
        files: The files that can be read.
        damaged: The names of the others, each with the reason.
        set_aside: Names of the files that a collector has found corrupted. It has sent their readable events.
    """

    files: Sequence[LeftFile]
    damaged: Mapping[str, str]
    set_aside: Sequence[str]

    def count_by_queue(self) -> Counter[str]:
        """Count the readable events of each queue."""
        return sum((Counter(file.store.count_by_queue()) for file in self.files), Counter())


@dataclass(slots=True, kw_only=True)
class SpoolTally(Tally):
    """Progress through the readable events of a spool: those that were sent or refused.

    Attributes:
        sent: Confirmed events of each queue, which are deleted from their files.
        refused: Number of events that the broker has refused, by its reason. They stay in their files.
    """

    sent: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def files_in(directory: Path) -> SpoolFiles:
    """Return the files of a spool in a directory.

    Raises:
        InvalidInputError: It is not a directory with files of a spool.
        SpoolUnavailableError: It cannot be read.
    """
    spool = SpoolFiles(directory)
    if not directory.is_dir():
        raise InvalidInputError(f"{directory} is not a directory")
    if not spool.paths() and not spool.set_aside():
        # An error, because a wrong directory must not look like one that is empty and can be deleted.
        raise InvalidInputError(f"{directory} has no file of a spool, such as spool-0.sqlite3")
    return spool


@contextmanager
def opened(spool: SpoolFiles) -> Iterator[LeftSpool]:
    """Open all files of a directory. No other process can use them while the context is open.

    Raises:
        SpoolInUseError: A running collector uses one of them.
        SpoolUnavailableError: They cannot be used now, by this user.
    """
    try:
        spool.try_locks()
    except OSError as error:
        raise SpoolUnavailableError(f"cannot use {spool.directory}: {error.strerror}") from error
    with ExitStack() as stack:
        claims = spool.claim_all()
        for claim in claims:
            stack.callback(claim.release)
        files: list[LeftFile] = []
        damaged: dict[str, str] = {}
        for claim in claims:
            try:
                files.append(_open(claim, stack))
            except SpoolCorruptedError as error:
                damaged[claim.path.name] = str(error)
        yield LeftSpool(files=files, damaged=damaged, set_aside=[path.name for path in spool.set_aside()])


async def send(link: Link, spool: LeftSpool, tally: SpoolTally) -> None:
    """Publish the events of all files, in the order of each file. Delete each after its confirm.

    A crash may send the events of one window twice, and loses none. An event that the broker refuses stays.

    Raises:
        EventFlowError: The broker cannot be used any more; the other events stay.
    """
    by_queue = spool.count_by_queue()
    tally.total = by_queue.total()
    flows = sorted({flow for queue in by_queue if (flow := flow_of(queue)) is not None})
    async with publishing(link, [spec for flow in flows for spec in ingest_specs(flow)]) as publisher:
        for file in spool.files:
            after = 0
            while rows := file.store.read(after=after, max_events=WINDOW_MAX_EVENTS, max_bytes=WINDOW_MAX_BYTES):
                after = rows[-1].seq
                await _send_window(file.store, rows, publisher, tally)
            file.store.shrink()


def _open(claim: Claim, stack: ExitStack) -> LeftFile:
    store = Store(claim.path)
    stack.callback(store.close)
    return LeftFile(name=claim.path.name, store=store, unreadable=store.set_unreadable_aside())


async def _send_window(store: Store, rows: Sequence[Row], publisher: Publisher, tally: SpoolTally) -> None:
    window: list[tuple[Row, Publication]] = []
    try:
        failure = await _publish(rows, publisher, window, tally)
    finally:
        # After any failure too, and for every confirm that has come by now: a row that stays is sent again.
        confirmed = [row for row, publication in window if publication.is_confirmed]
        store.apply([], delete=[row.seq for row in confirmed])
        tally.sent.update(row.record.queue for row in confirmed)
        tally.seen = tally.sent.total() + tally.refused.total()
        tally.on_read()
    if failure is not None:
        raise failure


async def _publish(
    rows: Sequence[Row], publisher: Publisher, window: list[tuple[Row, Publication]], tally: SpoolTally
) -> EventFlowError | None:
    """Publish rows into `window`, and wait until all are resolved; return the error after which no other can be sent.

    The disk is used on the event loop, because a command has no other work while its rows are read.
    """
    failure: EventFlowError | None = None
    for row in rows:
        try:
            window.append((row, publisher.publish(row.record.message, queue=row.record.queue)))
        except MessageTooLargeError as error:
            tally.refused[str(error)] += 1
        except BrokerUnavailableError as error:
            failure = error
            break
    for _, publication in window:
        try:
            await publication.confirmed(timeout_s=CONFIRM_TIMEOUT_S)
        except PublishTimeoutError as error:
            return error  # at once, because the same time has passed for all of them
        except BrokerUnavailableError as error:
            failure = error
        except PublishError as error:
            tally.refused[str(error)] += 1
    return failure
