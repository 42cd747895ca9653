"""Backlog of a flow, from the attempts of this processor and its checks of the queues: size, age, order and ETA."""

import time
from collections.abc import Callable
from dataclasses import replace

from typing_extensions import override

from eventflow.amqp.queues import QueueDepth
from eventflow.event import utc_now
from eventflow.outcome import Delivered, Hold
from eventflow.telemetry.tracing import exemplar_of
from eventflow.topology import Lane
from eventflow_processor.attempt import Attempted
from eventflow_processor.backlog.estimate import BacklogEstimate, BacklogEstimator
from eventflow_processor.backlog.reorder import Reorder
from eventflow_processor.gate.gate import Gate
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.metrics import FlowMetrics
from eventflow_processor.observe.observer import Observer
from eventflow_processor.quota.quota import Quota


class BacklogMonitor(Observer):
    """Monitor of one flow; it keeps the state that the gauges show.

    Attributes:
        estimate: The latest estimate; None before each lane has been checked.
    """

    def __init__(self, *, lanes: Lanes, metrics: FlowMetrics, quota: Quota, gate: Gate) -> None:
        self._lanes = lanes
        self._metrics = metrics
        self._quota = quota
        self._gate = gate
        self.count_held: Callable[[], int] = lambda: 0  # set once there is a consumer
        self.estimate: BacklogEstimate | None = None
        self._estimator = BacklogEstimator()
        self._reorder = Reorder()
        self._departed = 0  # events that have left the lanes through this processor
        self._depths: dict[Lane, QueueDepth] = {}

    @override
    def attempted(self, attempted: Attempted) -> None:
        match attempted.outcome:
            case None | Hold():
                return  # it is still in its lane, or returns to it
            case Delivered():
                # An event that another program published can carry a time in the future.
                accepted_s = min(attempted.delivery.envelope.event.accepted_at.timestamp(), time.time())
                late_s = self._reorder.delivered(accepted_s=accepted_s, now_s=time.monotonic())
                self._metrics.reorder_seconds.observe(
                    late_s, None if attempted.spans is None else exemplar_of(attempted.spans.request)
                )
        self._departed += 1

    def depth_measured(self, lane: Lane, depth: QueueDepth) -> None:
        """Note the depth of a lane's queue, and estimate again when every lane has been checked at least once."""
        self._metrics.set_backlog(lane.value, depth.messages)
        self._depths[lane] = depth
        if len(self._depths) < len(Lane):
            return
        oldest = self._lanes.oldest_accepted_at()
        self._metrics.oldest_seconds.set(0 if oldest is None else (utc_now() - oldest).total_seconds())
        ready = sum(depth.messages for depth in self._depths.values())
        processors = self._depths[Lane.LIVE].consumers
        # A peer holds as many deliveries as this processor, because their shares are equal.
        waiting = ready + self.count_held() * max(1, processors)
        estimate = self._estimator.look(
            at_s=time.monotonic(),
            waiting=waiting,
            is_busy=ready > 0 or not self._lanes.is_empty,
            is_flowing=self._gate.is_flowing,
            departed_here=self._departed,
            processors=processors,
            quota_per_s=self._quota.attempts_per_s,
        )
        if waiting:
            estimate = replace(estimate, eta_s=estimate.eta_s + self._gate.pause_s)
        self.estimate = estimate
        self._metrics.drain_eta_seconds.set(estimate.eta_s)
        self._metrics.arrival_per_second.set(estimate.arrival_per_s)
        self._metrics.departure_per_second.set(estimate.departure_per_s)
