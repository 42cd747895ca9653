"""Metrics of the collector: their table, and those of one flow, which are bound once so that a hot path only counts."""

from collections.abc import Collection
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.histogram import Histogram
from eventflow.telemetry.metrics import LATENCY_BUCKETS_S, MetricTable, counter, gauge, histogram
from eventflow_collector.intake.rejection import Reason
from eventflow_collector.senders.flaw import Flaw

UNKNOWN_FLOW = "unknown"

LARGEST = frozenset(
    {
        "eventflow_spool_oldest_seconds",
        "eventflow_spool_max_bytes",
        "eventflow_spool_failing",
        "eventflow_spool_stopping",
    }
)
"""Gauges for which the largest value of all workers is shown, instead of the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMetrics:
    """The metrics of one flow that are counted for each event."""

    accepted: Counter
    spooled: Counter
    forwarding_cut: Counter
    confirm_seconds: Histogram
    deduplicated: Counter
    dedup_bodies_differ: Counter
    dedup_ids: Gauge
    dedup_ids_evicted: Counter


class CollectorMetrics(MetricTable):
    """All metrics of one collector process."""

    # Requests and their events
    accepted = counter("eventflow_events_accepted", "Events that are durable and were answered 202", "flow")
    rejected = counter("eventflow_events_rejected", "Requests that were not accepted", "flow", "reason")
    handshakes = counter(
        "eventflow_handshakes", "Requests by which a sender checked the endpoint, and that were answered", "flow"
    )
    forwarding_cut = counter(
        "eventflow_forwarding_cut",
        "Accepted events with headers, or a query, that were to be forwarded and were left out",
        "flow",
    )
    confirm_seconds = histogram(
        "eventflow_confirm_seconds",
        "Time from publishing an event to the broker's confirm",
        "flow",
        buckets=LATENCY_BUCKETS_S,
    )
    in_flight = gauge("eventflow_ingest_in_flight", "Requests that are being received or wait for their confirm")
    internal_error_count = counter(
        "eventflow_internal_errors", "Internal errors, logged as internal.error or request.crashed", "service"
    )

    # Repeated events
    deduplicated = counter(
        "eventflow_events_deduplicated",
        "Events that were accepted and not published, because their id was accepted within the dedup window",
        "flow",
    )
    dedup_bodies_differ = counter(
        "eventflow_dedup_bodies_differ",
        "Deduplicated events whose body differs from that of the first event with their id",
        "flow",
    )
    dedup_ids = gauge("eventflow_dedup_ids", "Ids in the dedup window", "flow")
    dedup_ids_evicted = counter(
        "eventflow_dedup_ids_evicted", "Ids that left the dedup window early, because it was full", "flow"
    )

    # Connections on the port for events
    connections = gauge("eventflow_ingest_connections", "Open connections")
    connections_max = gauge("eventflow_ingest_connections_max", "Connections that may be open")
    connections_closed_idle = counter(
        "eventflow_ingest_connections_closed_idle", "Idle connections that were closed to make room for new ones"
    )
    connections_refused = counter(
        "eventflow_ingest_connections_refused", "Connections that were answered 503 because all others were in use"
    )

    # The spool
    spooled = counter(
        "eventflow_events_spooled",
        "Events that were stored in the spool because the broker did not confirm them",
        "flow",
    )
    spool_sent = counter("eventflow_spool_sent", "Events in the spool that RabbitMQ has confirmed")
    spool_events = gauge("eventflow_spool_events", "Events in the spool")
    spool_set_aside_events = gauge(
        "eventflow_spool_set_aside_events",
        "Events in the spool that are too large for RabbitMQ, not counted in eventflow_spool_events",
    )
    spool_bytes = gauge("eventflow_spool_bytes", "Disk space of the spooled events, in bytes")
    spool_max_bytes = gauge("eventflow_spool_max_bytes", "Limit of the spool's disk space, in bytes; 0 without a spool")
    spool_oldest_seconds = gauge(
        "eventflow_spool_oldest_seconds", "Age of the oldest event in the spool; 0 if it is empty"
    )
    spool_failing = gauge(
        "eventflow_spool_failing", "1 while the spool's disk fails or does not answer, so that no event can be stored"
    )
    spool_stopping = gauge(
        "eventflow_spool_stopping", "1 while the collector stops and empties its spool before its end"
    )
    spool_corrupted_files = counter(
        "eventflow_spool_corrupted_files", "Files of the spool that were found corrupted and moved aside"
    )

    # The broker
    queues_vanished = counter(
        "eventflow_queues_vanished", "Queues that no longer existed; their content is lost", "flow"
    )

    def __init__(self, flows: Collection[str]) -> None:
        """Create the metrics. Each series starts at 0, so that alerts can detect its first increment."""
        super().__init__()
        self.internal_errors = InternalErrors(self.internal_error_count.labels("collector"))
        self.flows = {
            flow: FlowMetrics(
                accepted=self.accepted.labels(flow),
                spooled=self.spooled.labels(flow),
                forwarding_cut=self.forwarding_cut.labels(flow),
                confirm_seconds=self.confirm_seconds.labels(flow),
                deduplicated=self.deduplicated.labels(flow),
                dedup_bodies_differ=self.dedup_bodies_differ.labels(flow),
                dedup_ids=self.dedup_ids.labels(flow),
                dedup_ids_evicted=self.dedup_ids_evicted.labels(flow),
            )
            for flow in flows
        }
        for flow in flows:
            self.queues_vanished.labels(flow)
            self.handshakes.labels(flow)
        for flow in (*flows, UNKNOWN_FLOW):
            for reason in Reason:
                self.rejected.labels(flow, reason.value)

    def count_vanished(self, flow: str) -> None:
        """Count a queue of a flow that existed and is gone."""
        self.queues_vanished.labels(flow).inc()

    def count_rejected(self, flow: str, reason: Reason | Flaw) -> None:
        """Count a request that was not accepted; if there is no such flow, under the flow `unknown`."""
        self.rejected.labels(flow if flow in self.flows else UNKNOWN_FLOW, reason.value).inc()
