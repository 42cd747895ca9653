"""The collector's metrics, bound to their flows once so that the hot path only counts."""

from collections.abc import Collection

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.metrics import LATENCY_BUCKETS_S
from eventflow_collector.intake.rejection import Reason
from eventflow_collector.senders.signature import Flaw

UNKNOWN_FLOW = "unknown"

LARGEST = frozenset({"eventflow_spool_oldest_seconds", "eventflow_spool_max_bytes", "eventflow_spool_failing"})
"""Gauges of which the largest of all workers counts, instead of their sum."""

log = structlog.stdlib.get_logger()


class CollectorMetrics:
    """All metrics of one collector process."""

    def __init__(self, flows: Collection[str]) -> None:
        self.registry = registry = CollectorRegistry()
        accepted = Counter(
            "eventflow_events_accepted",
            "Events that are safe and were answered 202",
            ["flow"],
            registry=registry,
        )
        self._rejected = Counter(
            "eventflow_events_rejected",
            "Requests that were not accepted",
            ["flow", "reason"],
            registry=registry,
        )
        confirm_seconds = Histogram(
            "eventflow_confirm_seconds",
            "Time from publishing an event to the broker's confirm",
            ["flow"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        internal_errors = Counter(
            "eventflow_internal_errors",
            "Errors that nothing in the service expects: bugs",
            ["service"],
            registry=registry,
        )
        self.internal_errors = InternalErrors(internal_errors.labels("collector"))
        self.in_flight = Gauge(
            "eventflow_ingest_in_flight",
            "Requests that are being received or wait for their confirm",
            registry=registry,
        )
        self.connections = Gauge(
            "eventflow_ingest_connections",
            "Connections that are open where events come in",
            registry=registry,
        )
        self.connections_max = Gauge(
            "eventflow_ingest_connections_max",
            "Connections that may be open where events come in",
            registry=registry,
        )
        self.connections_closed_idle = Counter(
            "eventflow_ingest_connections_closed_idle",
            "Idle connections that were closed to make room for new ones",
            registry=registry,
        )
        self.connections_refused = Counter(
            "eventflow_ingest_connections_refused",
            "Connections that were answered 503 because all others were in use",
            registry=registry,
        )
        spooled = Counter(
            "eventflow_events_spooled",
            "Events that were kept in the spool, since the broker could not confirm them",
            ["flow"],
            registry=registry,
        )
        self._queues_vanished = Counter(
            "eventflow_queues_vanished", "Queues that were gone with what was in them", ["flow"], registry=registry
        )
        self.spool_corrupted_files = Counter(
            "eventflow_spool_corrupted_files",
            "Files of the spool that were found corrupted and moved aside",
            registry=registry,
        )
        self.spool_events = Gauge(
            "eventflow_spool_events",
            "Events in the spool",
            registry=registry,
        )
        self.spool_set_aside_events = Gauge(
            "eventflow_spool_set_aside_events",
            "Events in the spool that are larger than RabbitMQ takes, beside eventflow_spool_events",
            registry=registry,
        )
        self.spool_bytes = Gauge(
            "eventflow_spool_bytes",
            "Bytes that the events in the spool take on disk",
            registry=registry,
        )
        self.spool_oldest_seconds = Gauge(
            "eventflow_spool_oldest_seconds",
            "Age of the oldest event in the spool; 0 where it is empty",
            registry=registry,
        )
        self.spool_max_bytes = Gauge(
            "eventflow_spool_max_bytes",
            "Bytes that the spool may take; 0 where there is none",
            registry=registry,
        )
        self.spool_failing = Gauge(
            "eventflow_spool_failing",
            "1 while the spool's disk fails or does not answer, so that no event can be kept there",
            registry=registry,
        )
        ProcessCollector(registry=registry)
        for flow in (*flows, UNKNOWN_FLOW):  # so that the first of a kind is a rise from 0, which an alert sees
            for reason in Reason:
                self._rejected.labels(flow, reason.value)
        for flow in flows:
            self._queues_vanished.labels(flow)
        self.accepted = {flow: accepted.labels(flow) for flow in flows}
        self.spooled = {flow: spooled.labels(flow) for flow in flows}
        self.confirm_seconds = {flow: confirm_seconds.labels(flow) for flow in flows}

    def count_vanished(self, flow: str) -> None:
        """Count a queue of a flow that existed and is gone."""
        self._queues_vanished.labels(flow).inc()

    def count_rejected(self, flow: str, reason: Reason | Flaw) -> None:
        """Count a request that was not accepted; one for no known flow counts under the flow `unknown`."""
        self._rejected.labels(flow if flow in self.accepted else UNKNOWN_FLOW, reason.value).inc()
