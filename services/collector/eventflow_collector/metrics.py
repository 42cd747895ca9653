"""Metrics of the collector: their table, and those of the hot path, which are bound to their flows once."""

from collections.abc import Collection

from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.metrics import LATENCY_BUCKETS_S, MetricTable, counter, gauge, histogram
from eventflow_collector.intake.rejection import Reason
from eventflow_collector.senders.signature import Flaw

UNKNOWN_FLOW = "unknown"

LARGEST = frozenset({"eventflow_spool_oldest_seconds", "eventflow_spool_max_bytes", "eventflow_spool_failing"})
"""Gauges of which the largest of all workers counts, instead of their sum."""


class CollectorMetrics(MetricTable):
    """All metrics of one collector process.

    Attributes:
        accepted: Counters of `events_accepted` by flow.
        spooled: Counters of `events_spooled` by flow.
        confirm_seconds: Histograms of `confirms` by flow.
    """

    # Requests and their events
    events_accepted = counter("eventflow_events_accepted", "Events that are safe and were answered 202", "flow")
    events_rejected = counter("eventflow_events_rejected", "Requests that were not accepted", "flow", "reason")
    confirms = histogram(
        "eventflow_confirm_seconds",
        "Time from publishing an event to the broker's confirm",
        "flow",
        buckets=LATENCY_BUCKETS_S,
    )
    in_flight = gauge("eventflow_ingest_in_flight", "Requests that are being received or wait for their confirm")
    internal_error_count = counter(
        "eventflow_internal_errors", "Errors that nothing in the service expects: bugs", "service"
    )
    queues_vanished = counter("eventflow_queues_vanished", "Queues that were gone with what was in them", "flow")

    # Connections of senders
    connections = gauge("eventflow_ingest_connections", "Connections that are open where events come in")
    connections_max = gauge("eventflow_ingest_connections_max", "Connections that may be open where events come in")
    connections_closed_idle = counter(
        "eventflow_ingest_connections_closed_idle", "Idle connections that were closed to make room for new ones"
    )
    connections_refused = counter(
        "eventflow_ingest_connections_refused", "Connections that were answered 503 because all others were in use"
    )

    # Spool
    events_spooled = counter(
        "eventflow_events_spooled",
        "Events that were kept in the spool, since the broker could not confirm them",
        "flow",
    )
    spool_events = gauge("eventflow_spool_events", "Events in the spool")
    spool_set_aside_events = gauge(
        "eventflow_spool_set_aside_events",
        "Events in the spool that are larger than RabbitMQ takes, beside eventflow_spool_events",
    )
    spool_bytes = gauge("eventflow_spool_bytes", "Bytes that the events in the spool take on disk")
    spool_oldest_seconds = gauge(
        "eventflow_spool_oldest_seconds", "Age of the oldest event in the spool; 0 if it is empty"
    )
    spool_max_bytes = gauge("eventflow_spool_max_bytes", "Bytes that the spool may take; 0 if there is none")
    spool_failing = gauge(
        "eventflow_spool_failing",
        "1 while the spool's disk fails or does not answer, so that no event can be kept there",
    )
    spool_corrupted_files = counter(
        "eventflow_spool_corrupted_files", "Files of the spool that were found corrupted and moved aside"
    )

    def __init__(self, flows: Collection[str]) -> None:
        super().__init__()
        self.internal_errors = InternalErrors(self.internal_error_count.labels("collector"))
        for flow in (*flows, UNKNOWN_FLOW):  # so that the first of a kind is a rise from 0, which an alert sees
            for reason in Reason:
                self.events_rejected.labels(flow, reason.value)
        for flow in flows:
            self.queues_vanished.labels(flow)
        self.accepted = {flow: self.events_accepted.labels(flow) for flow in flows}
        self.spooled = {flow: self.events_spooled.labels(flow) for flow in flows}
        self.confirm_seconds = {flow: self.confirms.labels(flow) for flow in flows}

    def count_vanished(self, flow: str) -> None:
        """Count a queue of a flow that existed and is gone."""
        self.queues_vanished.labels(flow).inc()

    def count_rejected(self, flow: str, reason: Reason | Flaw) -> None:
        """Count a request that was not accepted; one for no known flow counts under the flow `unknown`."""
        self.events_rejected.labels(flow if flow in self.accepted else UNKNOWN_FLOW, reason.value).inc()
