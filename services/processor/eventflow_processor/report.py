"""Report of a processor to `eventflow status`, one for each flow; /readyz has the same values."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from eventflow.control.messages import AskStatus, Broadcast, ControlMessage
from eventflow.control.reports import ProcessorReport, RateReport
from eventflow.event import format_time, utc_now
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow_processor.flow import Flow
from eventflow_processor.observe.metrics import ProcessorMetrics

OBSTACLES_MAX = 4
OBSTACLE_MAX_CHARACTERS = 200
"""Bounds of a report, because a larger message is ignored. A processor of many flows can have many obstacles."""


class FlowReporter:
    """Answers `eventflow status` about one flow, with values that are read at each question."""

    def __init__(
        self,
        flow: Flow,
        *,
        metrics: ProcessorMetrics,
        obstacles: Callable[[], Sequence[str]],
        broadcast: Callable[[ControlMessage], None],
    ) -> None:
        """Take the parts.

        Args:
            flow: The flow.
            metrics: Counts possible losses.
            obstacles: Returns the reasons why the processor is not ready. It is called for each flow at each question,
                so it must not report on all flows.
            broadcast: Sends the answer.
        """
        self._flow = flow
        self._metrics = metrics
        self._obstacles = obstacles
        self._broadcast = broadcast

    @property
    def internal_errors(self) -> InternalErrors:
        """Counter of errors in a report, which must not reach the control connection."""
        return self._metrics.internal_errors

    @harmless
    def on_peer_message(self, received: Broadcast) -> None:
        """Answer a question, and ignore any other message."""
        if isinstance(received.message, AskStatus):
            obstacles = tuple(line[:OBSTACLE_MAX_CHARACTERS] for line in self._obstacles()[:OBSTACLES_MAX])
            self._broadcast(replace(report_of(self._flow, self._metrics), is_ready=not obstacles, obstacles=obstacles))


def report_of(flow: Flow, metrics: ProcessorMetrics) -> ProcessorReport:
    """Return the present state of a flow in this processor, without the readiness of the processor."""
    gate, overrides, estimate = flow.gate, flow.gate.overrides, flow.backlog.estimate
    report = ProcessorReport(
        is_consuming=flow.consumer.is_consuming,
        held=flow.consumer.held,
        in_flight=flow.dispatcher.in_flight,
        oldest_s=_oldest_s(flow),
        throttled_s=round(gate.pause_s, 3),
        blocked_by=gate.blocked_by,
        target=gate.target,
        rate=_rate_of(flow),
        queues_vanished=metrics.vanished[flow.name],
        dangerous_policies=None if metrics.dangers is None else metrics.dangers[flow.name],
    )
    if overrides is not None:
        report = replace(
            report,
            is_paused=overrides.is_paused,
            paused_at=None if overrides.paused_at is None else format_time(overrides.paused_at),
            paused_by=overrides.paused_by,
        )
    if estimate is not None:
        report = replace(
            report,
            eta_s=estimate.eta_s,
            arrival_per_s=round(estimate.arrival_per_s, 3),
            departure_per_s=round(estimate.departure_per_s, 3),
        )
    return report


def _oldest_s(flow: Flow) -> float:
    accepted_at = flow.lanes.oldest_accepted_at()
    # The clocks of two hosts differ, so an event can seem to come from the future.
    return 0.0 if accepted_at is None else max(0.0, round((utc_now() - accepted_at).total_seconds(), 3))


def _rate_of(flow: Flow) -> RateReport:
    quota, overrides = flow.quota, flow.gate.overrides
    return RateReport(
        now_per_s=quota.rate_per_s,
        configured_per_s=quota.configured_per_s,
        ordered_per_s=None if overrides is None else overrides.rate_per_s,
        share_per_s=quota.share_per_s,
        cost=quota.cost,
    )
