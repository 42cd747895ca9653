"""Number of events in each queue of a flow, and the estimates of its processors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eventflow.amqp.queues import QueueDepth, depth_of
from eventflow.cli.retry_queues import Leftovers
from eventflow.cli.scrape import samples_of
from eventflow.cli.session import Link
from eventflow.cli.status.eta import BacklogEta, etas_of
from eventflow.cli.status.losses import losses_of
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStatus:
    """A retry queue.

    Attributes:
        events: Ready events; None if the queue does not exist.
        configured: Whether a setting has this delay.
    """

    delay_s: float
    events: int | None
    configured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStatus:
    """Events in the queues of a flow; None for a queue that does not exist.

    Attributes:
        lanes: Ready events by lane, without those that a processor holds.
        processors: Consumers of the live lane: one for each processor.
        eta: Time until the lanes are empty; None if no processor can be reached.
        losses: Possible losses of events that a processor reports, one line each.
    """

    flow: str
    lanes: dict[Lane, int | None]
    retries: tuple[RetryStatus, ...]
    dead: int | None
    processors: int | None
    eta: BacklogEta | None = None
    losses: tuple[str, ...] = ()


async def statuses(link: Link, settings: Settings, flows: Sequence[str], old: Leftovers) -> list[FlowStatus]:
    """Return the status of each flow: counts from the broker, the rest from a processor if one can be reached.

    Raises:
        BrokerUnavailableError: The broker does not answer.
    """
    samples = await samples_of(settings.processor.admin_host, settings.processor.admin_port) or []
    etas, losses = etas_of(samples), losses_of(samples)
    return [
        replace(
            await _counts(link, flow, settings.all_flows[flow].target.retry_delays_s, old.delays_s.get(flow, ())),
            eta=etas.get(flow),
            losses=losses.get(flow, ()),
        )
        for flow in flows
    ]


async def _counts(link: Link, flow: str, delays_s: Sequence[float], old_s: Sequence[float]) -> FlowStatus:
    async def depth(queue: str) -> QueueDepth | None:
        return await depth_of(link.connection, queue)

    lanes = {lane: await depth(lane_queue(flow, lane)) for lane in Lane}
    live = lanes[Lane.LIVE]
    retries = [
        RetryStatus(
            delay_s=delay_s,
            events=_ready(await depth(retry_queue(flow, delay_s))),
            configured=delay_s in delays_s,
        )
        for delay_s in sorted({*delays_s, *old_s})
    ]
    return FlowStatus(
        flow=flow,
        lanes={lane: _ready(depth) for lane, depth in lanes.items()},
        retries=tuple(retries),
        dead=_ready(await depth(dead_queue(flow))),
        processors=live.consumers if live else None,
    )


def _ready(depth: QueueDepth | None) -> int | None:
    return depth.messages if depth else None
