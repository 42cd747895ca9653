"""The relay's metrics."""

import math
from typing import get_args

from eventflow.errors import DatabaseError
from eventflow.outbox.counts import OutboxCounts, count
from eventflow.postgres.connections import Bounds, Connections
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.metrics import MetricTable, counter, gauge
from eventflow_relay.judgement import Reason

LOOK_MAX_S = 2.0
"""Longest look at the outbox, so that a scrape is answered while the database is away."""

LOOKING = Bounds(statement_s=1.0, lock_s=0.5, total_s=LOOK_MAX_S, is_reading=True)


class RelayMetrics(MetricTable):
    """Counts of rows. Those of the table are the same in each relay of one database."""

    pending = gauge("eventflow_outbox_pending", "Rows in the outbox to publish; at most 100 000 are counted.")
    parked = gauge("eventflow_outbox_parked", "Rows in the outbox that are no longer tried; at most 100 000.")
    oldest_seconds = gauge("eventflow_outbox_oldest_seconds", "Age of the first row to publish; 0 if there is none.")
    relayed = counter("eventflow_outbox_relayed", "Rows that were published and deleted.", "flow")
    failures = counter("eventflow_outbox_failures", "Publishes of a row that failed, by reason.", "reason")
    database_up = gauge(
        "eventflow_outbox_database_up", "1 if the last transaction of the relay ended well, otherwise 0."
    )
    internal_error_count = counter("eventflow_internal_errors", "Internal errors, logged as internal.error", "service")

    def __init__(self) -> None:
        """Make the metrics of this process."""
        super().__init__()
        self.internal_errors = InternalErrors(self.internal_error_count.labels("relay"))
        for reason in get_args(Reason):
            self.failures.labels(reason)
        self.database_up.set(math.nan)  # unknown until the first transaction, for which a relay without a broker waits

    async def look(self, connections: Connections) -> None:
        """Set the gauges of the table; those of a database that is away have no value (NaN)."""
        try:
            async with connections.transaction(LOOKING) as connection:
                seen = await count(connection)
        except DatabaseError:
            seen = None
        self._show(seen)

    def _show(self, seen: OutboxCounts | None) -> None:
        self.pending.set(math.nan if seen is None else seen.pending)
        self.parked.set(math.nan if seen is None else seen.parked)
        self.oldest_seconds.set(math.nan if seen is None else seen.oldest_s)
