"""How far a flow is behind, as its gauges tell it, brought up to date with every look at its queues."""

import time

from eventflow.amqp.queues import QueueDepth
from eventflow.event import utc_now
from eventflow.topology import Lane
from eventflow_processor.backlog.estimate import BacklogEstimator
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.metrics import FlowMetrics
from eventflow_processor.quota.quota import Quota


class BacklogMonitor:
    """Follows one flow."""

    def __init__(self, *, lanes: Lanes, metrics: FlowMetrics, quota: Quota) -> None:
        """Wire the parts that it asks."""
        self._lanes = lanes
        self._metrics = metrics
        self._quota = quota
        self._estimator = BacklogEstimator()
        self._depths: dict[Lane, QueueDepth] = {}

    def looked(self, lane: Lane, depth: QueueDepth) -> None:
        """Take note of what a look at a lane's queue found."""
        self._metrics.set_backlog(lane.value, depth.messages)
        self._depths[lane] = depth
        if len(self._depths) < len(Lane):
            return
        oldest = self._lanes.oldest_accepted_at()
        self._metrics.oldest_seconds.set(0 if oldest is None else (utc_now() - oldest).total_seconds())
        self._metrics.set_estimate(
            self._estimator.look(
                at_s=time.monotonic(),
                waiting=sum(depth.messages for depth in self._depths.values()),
                departed_here=self._metrics.departed,
                processors=self._depths[Lane.LIVE].consumers,
                quota_per_s=self._quota.attempts_per_s,
            )
        )
