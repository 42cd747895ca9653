"""Which retry queues a flow has: those of its settings, and those left over from older ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from yarl import URL

from eventflow.amqp.queues import depth_of
from eventflow.cli.session import Link
from eventflow.errors import ManagementError
from eventflow.management.api import Management
from eventflow.settings.root import Settings
from eventflow.settings.target import TargetSettings
from eventflow.topology import RETRY_QUEUE, retry_queue

MANAGEMENT_PORT_OFFSET = 10_000
"""RabbitMQ's own ports: 5672 and 15672, 5671 and 15671."""

Delays = Mapping[str, tuple[float, ...]]
"""Retry delays in seconds by flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Retry queues that exist though no setting asks for them.

    Attributes:
        delays_s: Their delays by flow; flows without any are missing.
        complete: Whether the broker listed its queues. If not, only the default delays were looked for.
    """

    delays_s: Delays
    complete: bool


async def leftovers(link: Link, settings: Settings) -> Leftovers:
    """Find leftover retry queues. AMQP cannot list queues: the management API can, where we may ask it.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
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
    """Pick the retry queues of our flows whose delay no setting names; delays in seconds by flow, ascending."""
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
    """Return where the management API of a broker most likely is; None where its port cannot be guessed."""
    parsed = URL(url)
    port = (parsed.port or (5671 if parsed.scheme == "amqps" else 5672)) + MANAGEMENT_PORT_OFFSET
    if port > 65535 or parsed.host is None:
        return None
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return f"{'https' if parsed.scheme == 'amqps' else 'http'}://{host}:{port}"


def _guessed(url: str) -> Management | None:
    place = guessed_management_url(url)
    return None if place is None else Management.at(place, url)


async def _queue_names(management: Management | None) -> list[str] | None:
    """Ask the management API; None where there is none, or where it does not let us in."""
    if management is None:
        return None
    try:
        return await management.queue_names()
    except ManagementError:
        return None
