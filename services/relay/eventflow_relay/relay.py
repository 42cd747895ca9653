"""`Relay`: publishes committed rows of the outbox, and deletes each after the confirm of the broker."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

import structlog

from eventflow.amqp.publisher import Publisher
from eventflow.errors import BrokerUnavailableError, DatabaseError, PublishError
from eventflow.outbox.row import Row
from eventflow.outbox.taking import FailedRow, delete, delete_late, note_failures, take
from eventflow.postgres.connection import CONNECT_MAX_S, Connection
from eventflow.postgres.connections import Bounds, Connections
from eventflow.settings.relay import RelaySettings
from eventflow_relay.judgement import Confirmed, FlowRefused, RowFailed, Unknown, judge
from eventflow_relay.metrics import RelayMetrics
from eventflow_relay.sending import Sender, Sending

CONFIRM_MAX_S = 10.0
"""Longest wait for the confirms of one batch, during which its rows are locked."""

ALARM_POLL_S = 0.5
"""Time after which an alarm ends this wait. RabbitMQ reports an alarm to a connection only when it publishes."""

STATEMENT_MAX_S = 5.0

RELAYING = Bounds(statement_s=STATEMENT_MAX_S, lock_s=3.0, total_s=CONNECT_MAX_S + 2 * STATEMENT_MAX_S + CONFIRM_MAX_S)

RESCAN_S = 1.0
"""Time after which the outbox is read from its beginning again, so the longest delay of a row that is committed after
a row with a higher number."""

BROKER_POLL_S = 0.1
DATABASE_PAUSE_S = 1.0

REFUSED_PAUSE_S = 5.0
"""Time for which the rows of a flow stay after its queue has refused one."""

NOT_ASKED = "the database was not asked yet, because rows are taken only with a broker"

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The outcomes of the rows of one transaction; those in `unknown` have none yet."""

    confirmed: Sequence[Sending]
    failed: Sequence[tuple[Sending, RowFailed]]
    refused: Sequence[Sending]
    unknown: Sequence[Sending]


class Relay:
    """Publishes the rows of one outbox. Any number of relays may do so.

    Guarantee: a row is deleted only after the confirm of its publish. A crash, or the loss of the broker, can publish
    an event twice, with the same id, and loses none. A row that fails by itself blocks no other row.

    Attributes:
        database_obstacle: The reason why the outbox cannot be read; None if it can.
    """

    def __init__(
        self,
        connections: Connections,
        publisher: Publisher,
        sender: Sender,
        *,
        metrics: RelayMetrics,
        settings: RelaySettings,
    ) -> None:
        """Take the parts."""
        self._connections = connections
        self._publisher = publisher
        self._sender = sender
        self._metrics = metrics
        self._settings = settings
        self._floor = 0
        self._rescanned_s = time.monotonic()
        self._refused_until_s: dict[str, float] = {}
        self._unfinished: Sequence[Sending] = ()  # of the last batch, whose rows may still be there
        self.database_obstacle: str | None = NOT_ASKED

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until the stop; the batch of that moment is finished, within the bounds of its transaction."""
        while not stop.is_set():
            pause_s = await self._turn()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    async def _turn(self) -> float:
        """Relay one batch if possible; return the pause before the next turn."""
        if not self._can_publish:
            return BROKER_POLL_S
        try:
            await self._delete_late()
            is_all = await self._relay_batch()
        except DatabaseError as error:
            self._floor = 0
            self._note_database(str(error))
            return DATABASE_PAUSE_S
        self._note_database(None)
        return self._settings.poll_s if is_all else 0.0

    @property
    def _can_publish(self) -> bool:
        """Whether the broker would confirm a publish now. Otherwise no row is taken and no transaction is held.

        After a batch without all confirms, this waits until the connection is lost or the confirms have come.
        """
        return self._publisher.state == "up" and self._publisher.oldest_unresolved_s == 0

    async def _delete_late(self) -> None:
        """Delete the rows of the last batch that were confirmed, and not deleted by its transaction.

        Their confirms came after its end, such as at the end of an alarm, or the database was lost. Without this they
        would be published again. By now each publish is resolved (see `_can_publish`).
        """
        confirmed = [sending.row for sending in self._unfinished if sending.is_confirmed]
        if confirmed:
            async with self._connections.transaction(RELAYING) as connection:
                await delete_late(connection, confirmed)
        self._unfinished = ()
        self._count_relayed(confirmed)

    async def _relay_batch(self) -> bool:
        """Take, publish and delete rows in one transaction; return whether no more are to be taken now."""
        floor = self._next_floor()
        async with self._connections.transaction(RELAYING) as connection:
            taken = await take(connection, floor=floor, rows=self._settings.batch, except_flows=self._refusing_flows())
            self._unfinished = sendings = [self._sender.send(row) for row in taken.rows]
            await self._until_resolved(sendings)
            batch = self._judged(sendings)
            await _write_outcomes(connection, batch)
        # Only after the COMMIT: before it, all rows may still come back.
        self._unfinished = batch.unknown
        self._note_batch(batch)
        if batch.unknown:
            self._floor = 0
        elif sendings:
            self._floor = sendings[-1].row["number"] + 1
        return taken.is_all

    async def _until_resolved(self, sendings: Sequence[Sending]) -> None:
        """Wait until each publish has an outcome, for `CONFIRM_MAX_S` in all, and not during an alarm."""
        end_s = time.monotonic() + CONFIRM_MAX_S
        for sending in sendings:
            while sending.is_unresolved:
                left_s = end_s - time.monotonic()
                if left_s <= 0 or self._publisher.state == "blocked":
                    return
                with suppress(PublishError, BrokerUnavailableError):  # judged afterwards, as is a timeout
                    await sending.wait(timeout_s=min(left_s, ALARM_POLL_S))

    def _next_floor(self) -> int:
        """Return the lowest number that may be unsent, which is 0 once in a while.

        Without a floor each query would read the index entries of all rows that were deleted since the last vacuum.
        """
        if time.monotonic() - self._rescanned_s >= RESCAN_S:
            self._rescanned_s, self._floor = time.monotonic(), 0
        return self._floor

    def _refusing_flows(self) -> Sequence[str]:
        now_s = time.monotonic()
        self._refused_until_s = {flow: end_s for flow, end_s in self._refused_until_s.items() if end_s > now_s}
        return list(self._refused_until_s)

    def _judged(self, sendings: Sequence[Sending]) -> Batch:
        confirmed, refused, unknown = list[Sending](), list[Sending](), list[Sending]()
        failed = list[tuple[Sending, RowFailed]]()
        for sending in sendings:
            judgement = judge(sending, tries=sending.row["tries"], max_tries=self._settings.max_tries)
            match judgement:
                case Confirmed():
                    confirmed.append(sending)
                case RowFailed():
                    failed.append((sending, judgement))
                case FlowRefused():
                    refused.append(sending)
                case Unknown():
                    unknown.append(sending)
                case _:
                    assert_never(judgement)
        return Batch(confirmed=confirmed, failed=failed, refused=refused, unknown=unknown)

    def _note_batch(self, batch: Batch) -> None:
        """Count and log a batch that is committed, and let the flows rest whose queues have refused a row."""
        self._count_relayed([sending.row for sending in batch.confirmed])
        for flow, rows in Counter[str](sending.row["flow"] for sending in batch.refused).items():
            self._metrics.failures.labels("refused").inc(rows)
            self._refused_until_s[flow] = time.monotonic() + REFUSED_PAUSE_S
            log.warning("outbox.flow_refused", flow=flow, rows=rows, pause_s=REFUSED_PAUSE_S)
        for _, failure in batch.failed:
            self._metrics.failures.labels(failure.reason).inc()
        _log_failed(batch.failed)

    def _count_relayed(self, rows: Sequence[Row]) -> None:
        for flow, count in Counter[str](row["flow"] for row in rows).items():
            self._metrics.relayed.labels(flow).inc(count)

    def _note_database(self, obstacle: str | None) -> None:
        """Note whether the last transaction ended well. Only changes are logged."""
        self._metrics.database_up.set(obstacle is None)
        if obstacle is not None and obstacle != self.database_obstacle:
            log.warning("database.failed", reason=obstacle)
        elif obstacle is None and self.database_obstacle is not None:
            log.info("database.answered")
        self.database_obstacle = obstacle


async def _write_outcomes(connection: Connection, batch: Batch) -> None:
    if batch.confirmed:
        await delete(connection, [sending.row["number"] for sending in batch.confirmed])
    if batch.failed:
        failed = [
            FailedRow(number=sending.row["number"], error=failure.error, pause_s=failure.pause_s)
            for sending, failure in batch.failed
        ]
        await note_failures(connection, failed)


def _log_failed(failed: Sequence[tuple[Sending, RowFailed]]) -> None:
    """Log the rows that failed in one batch: one line for each reason, with the first of them."""
    for reason in dict.fromkeys(failure.reason for _, failure in failed):
        rows = [(sending.row, failure) for sending, failure in failed if failure.reason == reason]
        parked = sum(failure.pause_s is None for _, failure in rows)
        row, failure = rows[0]
        write = log.error if parked else log.warning  # a parked row needs a person
        write(
            "outbox.rows_failed",
            reason=reason,
            rows=len(rows),
            parked=parked,
            first_number=row["number"],
            first_flow=row["flow"],
            first_error=failure.error,
        )
