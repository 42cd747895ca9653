"""`PostgresStore`: the history in the schema `eventflow` of a PostgreSQL database."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from typing_extensions import override

from eventflow.errors import HistoryRefusedError, HistorySchemaError
from eventflow.history.filters import AttemptFilter, Cursor
from eventflow.history.postgres import reading, upkeep, writing
from eventflow.history.postgres.failures import LockedError, MissingDayError, translated
from eventflow.history.postgres.schema import HISTORY
from eventflow.history.postgres.writing import RepeatedBatchError
from eventflow.history.records import Action, AttemptRecord, Batch, FlowMinute, Gap, MinuteCount, Writer
from eventflow.history.store import QUERY_MAX_S, HistoryStore, StoreReport
from eventflow.postgres.connection import CONNECT_MAX_S
from eventflow.postgres.connections import MIGRATING, Bounds, Connections

DAYS_AHEAD = 2
"""Days for which partitions are made in advance, so that none is missing after midnight."""

DROP_LOCK_S = 0.2
"""Longest wait for the lock that drops a day. Meanwhile all later writers and readers wait too."""

DROP_TRIES = 5
LOCKED_PAUSE_S = 0.3
PAUSE_S = 0.02
"""Pause between two transactions of the upkeep, so that writers get their turn."""

READING = Bounds(statement_s=QUERY_MAX_S, lock_s=1.0, total_s=CONNECT_MAX_S + QUERY_MAX_S + 0.5, is_reading=True)
WRITING = Bounds(statement_s=4.0, lock_s=3.0, total_s=9.0)
_DROPPING = replace(WRITING, lock_s=DROP_LOCK_S)


class PostgresStore(HistoryStore):
    """The history in PostgreSQL, which any number of processes share, also behind PgBouncer in transaction mode.

    Its first use migrates the schema if the role owns it, or may create it.
    """

    def __init__(self, url: str, *, application: str = "eventflow") -> None:
        """Remember the URL. See `Connections` for the arguments."""
        self._connections = Connections(url, application=application, on_connect=HISTORY.require, translate=translated)
        self._first_kept: date | None = None

    @override
    async def last_batch(self, writer: str) -> int:
        async with self._connections.transaction(READING) as connection:
            return await reading.last_batch(connection, writer)

    @override
    async def append(self, batch: Batch) -> None:
        try:
            await self._append(batch)
        except MissingDayError:
            await self._add_days_of(batch)
            await self._append(batch)

    @override
    async def end_writer(self, writer: str) -> None:
        async with self._connections.transaction(WRITING) as connection:
            await writing.end_writer(connection, writer)

    @override
    async def maintain(self, *, attempts: timedelta, minutes: timedelta, now: datetime) -> None:
        today = now.astimezone(UTC).date()
        self._first_kept = first_kept = (now - attempts).astimezone(UTC).date()
        await self._add_days([today + timedelta(days=n) for n in range(-1, DAYS_AHEAD + 1)])
        await self._drop_days_before(first_kept)
        while await self._delete_rows_before(now - minutes):  # noqa: ASYNC110 - a pause, and no wait for a condition
            await asyncio.sleep(PAUSE_S)

    @override
    async def attempts_of(self, event_id: str, *, flow: str | None = None, limit: int = 200) -> list[AttemptRecord]:
        async with self._connections.transaction(READING) as connection:
            return await reading.attempts_of(connection, event_id, flow, limit)

    @override
    async def attempts(
        self, selection: AttemptFilter, *, after: Cursor | None = None, limit: int = 50
    ) -> list[AttemptRecord]:
        async with self._connections.transaction(READING) as connection:
            return await reading.attempts(connection, selection, after, limit)

    @override
    async def minutes(self, flow: str, *, since: datetime, until: datetime, step_minutes: int = 1) -> list[MinuteCount]:
        async with self._connections.transaction(READING) as connection:
            return await reading.minutes(connection, flow, since, until, step_minutes)

    @override
    async def flow_minutes(self, flow: str, *, since: datetime, until: datetime) -> list[FlowMinute]:
        async with self._connections.transaction(READING) as connection:
            return await reading.flow_minutes(connection, flow, since, until)

    @override
    async def gaps(self, flow: str, *, since: datetime, until: datetime) -> list[Gap]:
        async with self._connections.transaction(READING) as connection:
            return await reading.gaps(connection, flow, since, until)

    @override
    async def writers(self) -> list[Writer]:
        async with self._connections.transaction(READING) as connection:
            return await reading.writers(connection)

    @override
    async def actions(self, *, flow: str | None = None, limit: int = 50) -> list[Action]:
        async with self._connections.transaction(READING) as connection:
            return await reading.actions(connection, flow, limit)

    @override
    async def put_flow_minutes(self, minutes: Collection[FlowMinute]) -> None:
        if minutes:
            async with self._connections.transaction(WRITING) as connection:
                await writing.put_flow_minutes(connection, minutes)

    @override
    async def put_action(self, action: Action) -> None:
        async with self._connections.transaction(WRITING) as connection:
            await writing.put_action(connection, action)

    @override
    async def forget(self, event_id: str) -> int:
        async with self._connections.transaction(WRITING) as connection:
            return await writing.forget(connection, event_id)

    @override
    async def migrate(self) -> Sequence[str]:
        async with self._connections.separate(MIGRATING) as connection:
            return await HISTORY.migrate(connection)

    @override
    async def check(self) -> StoreReport:
        report = StoreReport(kind="postgresql", version=0, expected_version=len(HISTORY.migrations))
        async with self._connections.separate(READING) as connection:
            try:
                version = await HISTORY.version(connection)
            except HistorySchemaError as error:
                return replace(report, problems=(str(error),))
            report = replace(report, version=version)
            if (mismatch := HISTORY.mismatch(version)) is not None:
                return replace(report, problems=(mismatch,))
            missing = await upkeep.missing_rights(connection)
            return replace(
                report,
                size_bytes=await upkeep.size_bytes(connection),
                oldest=None if "SELECT on attempts" in missing else await upkeep.oldest(connection),
                problems=(f"the role lacks these rights: {', '.join(missing)}",) if missing else (),
            )

    @override
    async def close(self) -> None:
        await self._connections.close()

    async def _append(self, batch: Batch) -> None:
        with suppress(RepeatedBatchError):
            async with self._connections.transaction(WRITING) as connection:
                await writing.append(connection, batch)

    async def _add_days_of(self, batch: Batch) -> None:
        """Make the missing partitions of a batch.

        Raises:
            HistoryRefusedError: An attempt is older than attempts are kept. Its partition would soon be dropped.
        """
        days = {record.started_at.astimezone(UTC).date() for record in batch.attempts}
        if self._first_kept is not None and min(days) < self._first_kept:
            raise HistoryRefusedError(f"an attempt of {min(days)} is older than the retention")
        await self._add_days(sorted(days))

    async def _add_days(self, days: list[date]) -> None:
        async with self._connections.transaction(WRITING) as connection:
            await upkeep.add_days(connection, days)

    async def _drop_days_before(self, first_kept: date) -> None:
        """Drop old days, one in each transaction. A day whose lock is not free soon is left for the next time."""
        tries = 0
        while tries < DROP_TRIES:
            try:
                async with self._connections.transaction(_DROPPING) as connection:
                    if not await upkeep.drop_day_before(connection, first_kept):
                        return
            except LockedError:
                tries += 1
                await asyncio.sleep(LOCKED_PAUSE_S)
            else:
                await asyncio.sleep(PAUSE_S)

    async def _delete_rows_before(self, moment: datetime) -> bool:
        async with self._connections.transaction(WRITING) as connection:
            return await upkeep.delete_rows_before(connection, moment)
