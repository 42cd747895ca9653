"""Readiness of the relay: whether it can publish a row now, and the reasons if it cannot."""

import asyncio
from collections.abc import Iterator

from eventflow.amqp.publisher import Publisher
from eventflow.service.admin import Readiness
from eventflow_relay.relay import NOT_ASKED, Relay


def readiness_of(relay: Relay, publisher: Publisher, stop: asyncio.Event) -> Readiness:
    """Return the answer of /readyz."""
    obstacles = list(_obstacles(relay, publisher, stop))
    return Readiness(
        ready=not obstacles,
        details={
            "obstacles": obstacles,
            "publisher": publisher.state,
            "database": _database_state(relay.database_obstacle),
        },
    )


def _database_state(obstacle: str | None) -> str:
    if obstacle is NOT_ASKED:
        return "unknown"
    return "up" if obstacle is None else "down"


def _obstacles(relay: Relay, publisher: Publisher, stop: asyncio.Event) -> Iterator[str]:
    if stop.is_set():
        yield "it is stopping"
    match publisher.state:
        case "down":
            yield "it has no connection to publish on"
        case "refused":
            yield "RabbitMQ refuses it a right, which broker.right_missing in its log names"
        case "blocked":
            yield "RabbitMQ blocks publishing: it has a memory or disk alarm"
        case "up":
            pass
    if relay.database_obstacle is not None:
        yield relay.database_obstacle
