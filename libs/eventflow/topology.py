"""Every name and argument on the broker, as data. Pure.

    eventflow.{flow}.events           live events, from the collector or from anyone who publishes there
    eventflow.{flow}.due              retries whose delay is over
    eventflow.{flow}.replay           dead letters that an operator sent again
    eventflow.{flow}.retry.{delay_ms} retries that wait: one queue per delay, since messages leave only from the head
    eventflow.{flow}.dead             events that were given up, kept until somebody looks
    eventflow.{flow}.lease            empty for ever: what is asked of it shows that a majority of the brokers answers
    eventflow.{flow}.runtime          what an operator has ordered; a stream, of which the last message counts

All but the last are durable quorum queues, on a single node too: a classic queue confirms before it has written to
disk.
Why each argument stands there: docs/architecture.md and ADR 3.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PREFIX = "eventflow"
FLOW_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
DEFAULT_FLOW = "default"

NO_DELIVERY_LIMIT = 1_000_000_000
"""RabbitMQ 4 drops a message at its 21st delivery by default, 3.10 takes -1 for zero; attempts are counted by us."""


OVERRIDES_MAX_BYTES = 4_000_000
"""What a stream of orders may take on disk; one has about 100 bytes."""

POLICY_PRIORITY = 1_000_000
"""Above the priorities that operators give to their own policies."""

RIGHTS = (rf"^{PREFIX}[.]", rf"^({PREFIX}[.]|amq[.]default$)", rf"^{PREFIX}[.]")
"""What a user of the services must be allowed to configure, write and read, as patterns of names. Publishing to a queue
is writing to the default exchange, which is `amq.default` there."""

CONTROL_EXCHANGE = f"{PREFIX}.control"
"""Fanout: what processors tell each other."""


class Lane(StrEnum):
    """The ways on which events reach a processor."""

    LIVE = "events"
    DUE = "due"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """A durable queue to declare."""

    name: str
    arguments: Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """A policy to set on the broker.

    Of all policies that match a queue and that its type understands, RabbitMQ applies only the one of the highest
    priority. So a policy that sets nothing harmful keeps every other one away (ADR 18).
    """

    name: str
    pattern: str
    definition: Mapping[str, str | int]
    priority: int = POLICY_PRIORITY
    apply_to: str = "queues"

    @property
    def body(self) -> dict[str, object]:
        """The policy as the management API and definition files write it, without name and virtual host."""
        return {
            "pattern": self.pattern,
            "definition": dict(self.definition),
            "priority": self.priority,
            "apply-to": self.apply_to,
        }


def flow_prefix(flow: str) -> str:
    """Return what the names of all queues of a flow begin with: `eventflow.{flow}.`."""
    return f"{PREFIX}.{flow}."


def lane_queue(flow: str, lane: Lane) -> str:
    """Name the queue of a lane: `eventflow.{flow}.{lane}`."""
    return f"{PREFIX}.{flow}.{lane.value}"


def dead_queue(flow: str) -> str:
    """Name the queue of the given-up: `eventflow.{flow}.dead`."""
    return f"{PREFIX}.{flow}.dead"


def retry_queue(flow: str, delay_s: float) -> str:
    """Name the queue in which a retry waits: `eventflow.{flow}.retry.{delay_ms}`."""
    return f"{PREFIX}.{flow}.retry.{round(delay_s * 1000)}"


def lease_queue(flow: str) -> str:
    """Name the queue by which a processor proves its lease on its share of the quota: `eventflow.{flow}.lease`."""
    return f"{PREFIX}.{flow}.lease"


def overrides_queue(flow: str) -> str:
    """Name the stream of an operator's orders: `eventflow.{flow}.runtime`."""
    return f"{PREFIX}.{flow}.runtime"


def control_queue(instance: str) -> str:
    """Name a processor's own ear on the control exchange: `eventflow.control.{instance}`."""
    return f"{CONTROL_EXCHANGE}.{instance}"


RETRY_QUEUE = re.compile(rf"{PREFIX}\.({FLOW_NAME.pattern})\.retry\.(\d+)")


SHIELDS = (
    # It refuses what does not fit instead of dropping what is there, even when an operator policy limits the length.
    PolicySpec(name=PREFIX, pattern=rf"^{PREFIX}[.]", definition={"overflow": "reject-publish"}),
    # A stream knows no overflow, so the policy above does not apply to it. This one repeats an argument of the stream.
    PolicySpec(
        name=f"{PREFIX}-streams",
        pattern=rf"^{PREFIX}[.][^.]+[.]runtime$",
        definition={"stream-max-segment-size-bytes": OVERRIDES_MAX_BYTES // 4},
    ),
)
"""Policies of our own, which keep those of others from our queues: neither sets anything that deletes."""


def permissions_command(user: str, *, vhost: str) -> str:
    """Return the shell command that gives a user all rights that the services need."""
    return shlex.join(["rabbitmqctl", "set_permissions", "-p", vhost, user, *RIGHTS])


def flow_of(queue: str) -> str | None:
    """Return the flow of a queue by its name; None if it is none of ours."""
    prefix, _, rest = queue.partition(".")
    flow, _, kind = rest.partition(".")
    return flow if prefix == PREFIX and kind and FLOW_NAME.fullmatch(flow) else None


def _quorum(**arguments: str | int) -> dict[str, str | int]:
    own = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT, **own}


def _dead_lettering_to(queue: str) -> dict[str, str | int]:
    # Kept in the queue's own arguments: a policy can be dropped, and a TTL without a dead-letter target deletes.
    return _quorum(
        x_dead_letter_exchange="",
        x_dead_letter_routing_key=queue,
        x_dead_letter_strategy="at-least-once",
        x_overflow="reject-publish",  # without it at-least-once silently becomes at-most-once
    )


def lane_specs(flow: str) -> tuple[QueueSpec, ...]:
    """Return the three lanes of a flow."""
    arguments = _dead_lettering_to(dead_queue(flow))
    return tuple(QueueSpec(name=lane_queue(flow, lane), arguments=arguments) for lane in Lane)


def dead_spec(flow: str) -> QueueSpec:
    """Return the dead queue: no time limit, no length limit."""
    return QueueSpec(name=dead_queue(flow), arguments=_quorum())


def retry_specs(flow: str, delays_s: tuple[float, ...]) -> tuple[QueueSpec, ...]:
    """Return one queue per delay, each expiring into the lane `due`."""
    arguments = _dead_lettering_to(lane_queue(flow, Lane.DUE))
    return tuple(
        QueueSpec(
            name=retry_queue(flow, delay_s),
            arguments={**arguments, "x-message-ttl": round(delay_s * 1000)},
        )
        for delay_s in delays_s
    )


def lease_spec(flow: str) -> QueueSpec:
    """Return the queue of the lease, which never has a message (ADR 20)."""
    return QueueSpec(name=lease_queue(flow), arguments=_quorum())


def overrides_spec(flow: str) -> QueueSpec:
    """Return the stream of an operator's orders: everyone reads the last, and reading takes nothing away (ADR 8)."""
    return QueueSpec(
        name=overrides_queue(flow),
        arguments={
            "x-queue-type": "stream",
            "x-max-length-bytes": OVERRIDES_MAX_BYTES,
            "x-stream-max-segment-size-bytes": OVERRIDES_MAX_BYTES // 4,
        },
    )


def ingest_specs(flow: str) -> tuple[QueueSpec, ...]:
    """Return what the collector needs: the dead queue first, then the lanes that point to it."""
    return (dead_spec(flow), *lane_specs(flow))


def flow_specs(flow: str, delays_s: tuple[float, ...]) -> tuple[QueueSpec, ...]:
    """Return every queue of a flow, in an order in which each dead-letter target comes before what points to it."""
    return (*ingest_specs(flow), *retry_specs(flow, delays_s), lease_spec(flow))
