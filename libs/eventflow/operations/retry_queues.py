"""Find retry queues that are left over from earlier settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eventflow.amqp.queues import depth_of
from eventflow.errors import ManagementError
from eventflow.management.api import Management
from eventflow.network.broker_url import parse_broker_url
from eventflow.network.host import PORT_MAX, host_and_port
from eventflow.operations.session import Link
from eventflow.settings.root import Settings
from eventflow.settings.target import TargetSettings
from eventflow.topology import RETRY_QUEUE, retry_queue

MANAGEMENT_PORT_OFFSET = 10_000
"""RabbitMQ's default ports: 5672 and 15672, or 5671 and 15671 with TLS."""

Delays = Mapping[str, tuple[float, ...]]
"""Retry delays in seconds by flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Retry queues that exist, although their delay is in no setting.

    Attributes:
        delays_s: Their delays by flow; flows without any are missing.
        complete: Whether the broker listed its queues. If not, only queues of the default delays were searched.
    """

    delays_s: Delays
    complete: bool


async def leftovers(link: Link, settings: Settings) -> Leftovers:
    """Find leftover retry queues. AMQP cannot list queues, so the management API is used if it answers.

    Raises:
        BrokerUnavailableError: The broker does not answer.
    """
    configured = {name: flow.target.retry_delays_s for name, flow in settings.all_flows.items()}
    names = await _queue_names(
        Management.of(settings.broker.management_url, settings.broker.urls[0]) or _guessed(link.url)
    )
    if names is not None:
        return Leftovers(delays_s=leftovers_among(names, configured), complete=True)
    candidates = [retry_queue(flow, delay_s) for flow in configured for delay_s in TargetSettings().retry_delays_s]
    unexpected = [queue for queue in candidates if leftovers_among([queue], configured)]
    existing = [queue for queue in unexpected if await depth_of(link.connection, queue) is not None]
    return Leftovers(delays_s=leftovers_among(existing, configured), complete=False)


def leftovers_among(queues: Iterable[str], configured: Delays) -> dict[str, tuple[float, ...]]:
    """Return the delays of those retry queues of our flows that no setting has; in seconds by flow, ascending."""
    found: dict[str, list[float]] = {}
    for queue in queues:
        match = RETRY_QUEUE.fullmatch(queue)
        if match is None or match[1] not in configured:
            continue
        flow, delay_s = match[1], int(match[2]) / 1000
        if queue not in {retry_queue(flow, known_s) for known_s in configured[flow]}:
            found.setdefault(flow, []).append(delay_s)
    return {flow: tuple(sorted(delays_s)) for flow, delays_s in found.items()}


def guessed_management_url(url: str) -> str | None:
    """Return the most likely URL of a broker's management API, or None if its port cannot be guessed."""
    broker = parse_broker_url(url)
    port = broker.port + MANAGEMENT_PORT_OFFSET
    if port > PORT_MAX:
        return None
    return f"{'http' if broker.tls is None else 'https'}://{host_and_port(broker.host, port)}"


def _guessed(url: str) -> Management | None:
    place = guessed_management_url(url)
    return None if place is None else Management.at(place, url)


async def _queue_names(management: Management | None) -> list[str] | None:
    """Return the names of all queues, or None if there is no management API or it refuses this user."""
    if management is None:
        return None
    try:
        return await management.queue_names()
    except ManagementError:
        return None
