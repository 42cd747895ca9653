"""The present state of the flows and services: frozen values for every view. Pure.

None stands for an unknown value, and never for 0. Times are in UTC.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from eventflow.control.reports import FailureCause
from eventflow.operations.status.flow import RetryStatus
from eventflow.operations.status.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerState:
    """The connection to the broker.

    Attributes:
        is_up: Whether the last look succeeded; None before the first look has ended.
        since: Start of this state.
        reason: The reason why there is no connection; None if there is one.
    """

    is_up: bool | None
    since: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateState:
    """Rates of a flow in units per second for all processors together; infinite if there is no limit.

    Attributes:
        configured_per_s: The rate in the settings.
        ordered_per_s: The rate that an operator has set in its place; None if there is none, or if it is unknown.
        now_per_s: The quota now, after the answers of the target; None if no processor has reported it.
        cost: Units that one attempt costs.
    """

    configured_per_s: float = math.inf
    ordered_per_s: float | None = None
    now_per_s: float | None = None
    cost: float = 1.0

    @property
    def limit_per_s(self) -> float:
        """The rate that settings and operator allow."""
        return self.configured_per_s if self.ordered_per_s is None else self.ordered_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """The target of a flow, as its breaker judges it.

    Attributes:
        state: `up`, `down` or `blocked`, if it refuses every event; the breaker is open unless it is `up`.
        status: The HTTP status that every event gets, if the target blocks the flow.
        since: Time at which the breaker opened.
        failure: The latest failure, if the breaker is open.
    """

    state: str
    status: int | None = None
    since: datetime | None = None
    failure: FailureCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorState:
    """One processor of a flow.

    Attributes:
        name: `host:pid`.
        instance: Its whole name, as in its log.
        share_per_s: Units per second of the quota that it may use now; infinite if there is no limit.
        obstacles: The reasons why it is not ready.
    """

    name: str
    instance: str
    is_ready: bool | None = None
    is_consuming: bool | None = None
    held: int | None = None
    in_flight: int | None = None
    share_per_s: float | None = None
    obstacles: tuple[str, ...] = ()
    blocked_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorState:
    """One collector process of a flow.

    Attributes:
        name: `host:pid`.
        instance: Its whole name, as in its log.
        in_per_s: Events of the flow that it accepts per second.
        broker: State of its publisher: `up`, `blocked`, `down` or `refused`.
        spooled: Events in its spool, of all flows; None if it has no spool.
        spool: State of its spool: `empty`, `spooling`, `draining`, `full` or `stuck`.
    """

    name: str
    instance: str
    is_ready: bool | None = None
    in_per_s: float | None = None
    broker: str | None = None
    spooled: int | None = None
    spool: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolState:
    """The spools of all collectors of a flow together, with the events of all their flows.

    Attributes:
        set_aside: Events that are kept and not sent, because they are larger than the broker accepts.
        failing: Whether a disk fails or does not answer, so that no event can be spooled.
    """

    events: int
    set_aside: int
    size_bytes: int
    oldest_s: float
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """One flow at one moment.

    Attributes:
        standing: The state in one word; its `value` is for display.
        live: Ready events in the lane of new events; None if the queue does not exist, as for the other lanes.
        due: Ready events in the lane of retries after their delay.
        replay: Ready events in the lane of dead letters that are sent again.
        retries: The retry queues, the shortest delay first.
        dead: Dead letters.
        held: Deliveries that processors hold unsettled: in flight, or before their turn.
        in_flight: Attempts in flight, a part of `held`.
        waiting: `live`, `due`, `replay` and `held` together.
        oldest_s: Age of the oldest event that waits.
        in_per_s: Events that the collectors accept per second.
        arrival_per_s: Events per second that enter the lanes: new ones, retries and replays.
        departure_per_s: Events per second that leave the lanes.
        eta_s: Seconds until nothing waits; infinite if the backlog does not shrink.
        eta: The same in words: `in 14 min`, `nothing waits`, or the reason why it does not shrink.
        throttled_until: End of the pause that the target asked for; None if there is none.
        paused_at: Time at which an operator paused the flow.
        silent: Number of processors that consume and did not answer.
        losses: One line for each possible loss of events.
    """

    flow: str
    standing: Standing = Standing.UNKNOWN
    is_paused: bool | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    live: int | None = None
    due: int | None = None
    replay: int | None = None
    retries: tuple[RetryStatus, ...] = ()
    dead: int | None = None
    held: int | None = None
    in_flight: int | None = None
    waiting: int | None = None
    oldest_s: float | None = None
    in_per_s: float | None = None
    arrival_per_s: float | None = None
    departure_per_s: float | None = None
    eta_s: float | None = None
    eta: str = "unknown"
    rate: RateState = field(default_factory=RateState)
    target: TargetState | None = None
    throttled_until: datetime | None = None
    blocked_by: str | None = None
    spool: SpoolState | None = None
    processors: tuple[ProcessorState, ...] = ()
    silent: int = 0
    collectors: tuple[CollectorState, ...] = ()
    losses: tuple[str, ...] = ()

    @property
    def delayed(self) -> int | None:
        """Retries before the end of their delay; None if no retry queue exists."""
        known = [retry.events for retry in self.retries if retry.events is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """All flows at one moment.

    Attributes:
        at: Time of the last look that succeeded; None if there was none. While the broker is away, the flows are those
            of that look. Two values that differ only in this time are equal, because nothing has changed.
        flows: Every flow in the settings, by name, in their order.
        unasked: The reason why no service could be asked; None if they were.
    """

    at: datetime | None = field(compare=False)
    broker: BrokerState
    flows: Mapping[str, FlowState]
    unasked: str | None = None
