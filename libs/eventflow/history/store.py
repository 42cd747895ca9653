"""The port of the stores: SQLite for one machine, PostgreSQL beyond."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from eventflow.history.filters import AttemptFilter, Cursor
from eventflow.history.records import Action, AttemptRecord, Batch, FlowMinute, Gap, MinuteCount, Writer

QUERY_MAX_S = 2.0
"""Longest time for a query of an operator. After it the value is unknown, and must not be shown as 0."""


class RecordingStore(Protocol):
    """The part that a processor uses. Every method raises the errors that `HistoryStore` names."""

    async def last_batch(self, writer: str) -> int:
        """Return the number of the last batch of a writer that is on record; 0 if there is none."""
        ...

    async def append(self, batch: Batch) -> None:
        """Write a batch in one transaction; do nothing if it is on record already.

        Guarantee: if this raises, the whole batch is on record or nothing of it, and `last_batch` shows if it is.

        Raises:
            HistoryRefusedError: The store accepts no such row, and trying again cannot help.
        """
        ...

    async def end_writer(self, writer: str) -> None:
        """Note that a writer ends in order."""
        ...

    async def maintain(self, *, attempts: timedelta, minutes: timedelta, now: datetime) -> None:
        """Prepare the next days, and delete the records that are older. If several processes call it, one does it."""
        ...


class ArchiveStore(Protocol):
    """The part that an operator reads. Every method raises the errors that `HistoryStore` names."""

    async def attempts_of(self, event_id: str, *, flow: str | None = None, limit: int = 200) -> list[AttemptRecord]:
        """Return the attempts of an event, the oldest first: of one flow, or of all."""
        ...

    async def attempts(
        self, selection: AttemptFilter, *, after: Cursor | None = None, limit: int = 50
    ) -> list[AttemptRecord]:
        """Return a page of attempts, the newest first: those after a place in the list."""
        ...

    async def minutes(self, flow: str, *, since: datetime, until: datetime, step_minutes: int = 1) -> list[MinuteCount]:
        """Return the counts of a flow by minute. They are stored, so no attempt is read for them.

        Args:
            flow: The flow.
            since: Start of the range, inclusive.
            until: End of the range, exclusive.
            step_minutes: The store adds up this many minutes, so that a week has some thousand rows and not some
                hundred thousand. `minute` of a key is then the first of them, a multiple of the step.
        """
        ...

    async def flow_minutes(self, flow: str, *, since: datetime, until: datetime) -> list[FlowMinute]:
        """Return the backlog of a flow by minute."""
        ...

    async def gaps(self, flow: str, *, since: datetime, until: datetime) -> list[Gap]:
        """Return the gaps of a flow that touch a range of time."""
        ...

    async def writers(self) -> list[Writer]:
        """Return all writers, the latest first."""
        ...

    async def actions(self, *, flow: str | None = None, limit: int = 50) -> list[Action]:
        """Return the latest actions of operators, the newest first."""
        ...


class OperatorStore(Protocol):
    """The part by which an operator changes records. Every method raises the errors that `HistoryStore` names."""

    async def put_flow_minutes(self, minutes: Collection[FlowMinute]) -> None:
        """Write the backlogs of flows. In a minute that is on record, an unknown value replaces no known one."""
        ...

    async def put_action(self, action: Action) -> None:
        """Put an action on record."""
        ...

    async def forget(self, event_id: str) -> int:
        """Delete the attempts of an event in all flows; return their number."""
        ...

    async def migrate(self) -> Sequence[str]:
        """Bring the schema to this version; return the names of the steps that were made.

        Raises:
            HistorySchemaError: The schema is of a later version.
        """
        ...

    async def check(self) -> "StoreReport":
        """Return the state of the store; a wrong schema is a part of it, and no error."""
        ...


class HistoryStore(RecordingStore, ArchiveStore, OperatorStore, Protocol):
    """A store that is open. It connects when needed, and connects again after a loss.

    Raises, from every method:
        HistoryUnavailableError: It cannot be reached, its disk is full, or it does not answer in time.
        HistoryLateError: The same, if a query was ended because it took longer than `QUERY_MAX_S`.
        HistorySchemaError: Its schema is missing or of another version; the message names the command to run.
    """

    async def close(self) -> None:
        """Close it within a second."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """The state of a store.

    Attributes:
        kind: `sqlite` or `postgresql`.
        version: Version of its schema; 0 if there is none.
        expected_version: The version that this program needs.
        size_bytes: Size of the tables with their indexes; None if it is unknown.
        oldest: Start of the oldest attempt; None if there is none.
        problems: Sentences about everything that is wrong, such as a missing right.
    """

    kind: str
    version: int
    expected_version: int
    size_bytes: int | None = None
    oldest: datetime | None = None
    problems: tuple[str, ...] = ()
