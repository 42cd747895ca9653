"""All names and arguments of queues, exchanges and policies, as data. Pure.

    eventflow.{flow}.events           live events, from the collector or any other publisher
    eventflow.{flow}.due              retries with an expired delay
    eventflow.{flow}.replay           dead letters that an operator sent again
    eventflow.{flow}.retry.{delay_ms} retries that wait: one queue per delay, because messages expire only at the head
    eventflow.{flow}.dead             events that were given up, kept until an operator removes or replays them
    eventflow.{flow}.lease            always empty: requests to it prove that a majority of the brokers answers
    eventflow.{flow}.runtime          an operator's overrides: a stream, of which the last message counts

All but the last are durable quorum queues, also on a single node: a classic queue confirms before it has written to
disk. docs/architecture.md and ADR 3 give the reason for each argument.
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
"""Attempts are counted in a header of ours. Without this argument RabbitMQ 4 drops a message at its 21st delivery, and
with -1 RabbitMQ 3.10 drops it at the first requeue."""


OVERRIDES_MAX_BYTES = 4_000_000
"""Largest size on disk of the stream of overrides; one message has about 100 bytes."""

POLICY_PRIORITY = 1_000_000
"""Higher than the priorities that operators usually give to their own policies."""

RIGHTS = (rf"^{PREFIX}[.]", rf"^({PREFIX}[.]|amq[.]default$)", rf"^{PREFIX}[.]")
"""Names that a user of the services must be allowed to configure, write and read, as patterns. Publishing to a queue is
writing to the default exchange, which RabbitMQ calls `amq.default` here."""

CONTROL_EXCHANGE = f"{PREFIX}.control"
"""Fanout exchange for messages between services."""


class Lane(StrEnum):
    """A queue from which a processor consumes: live events, retries that are due, or replays."""

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

    Of all policies that match a queue and support its type, RabbitMQ applies only the one with the highest priority. So
    a harmless policy of ours keeps all others from taking effect (ADR 18).
    """

    name: str
    pattern: str
    definition: Mapping[str, str | int]
    priority: int = POLICY_PRIORITY
    apply_to: str = "queues"

    @property
    def body(self) -> dict[str, object]:
        """The policy in the form of the management API and of definition files, without name and virtual host."""
        return {
            "pattern": self.pattern,
            "definition": dict(self.definition),
            "priority": self.priority,
            "apply-to": self.apply_to,
        }


def flow_prefix(flow: str) -> str:
    """Return the prefix of the names of a flow's queues: `eventflow.{flow}.`."""
    return f"{PREFIX}.{flow}."


def lane_queue(flow: str, lane: Lane) -> str:
    """Name the queue of a lane: `eventflow.{flow}.{lane}`."""
    return f"{PREFIX}.{flow}.{lane.value}"


def dead_queue(flow: str) -> str:
    """Name the queue of dead letters: `eventflow.{flow}.dead`."""
    return f"{PREFIX}.{flow}.dead"


def retry_queue(flow: str, delay_s: float) -> str:
    """Name the queue in which retries wait for this delay: `eventflow.{flow}.retry.{delay_ms}`."""
    return f"{PREFIX}.{flow}.retry.{round(delay_s * 1000)}"


def lease_queue(flow: str) -> str:
    """Name the queue for the proof of a majority, which renews a processor's lease: `eventflow.{flow}.lease`."""
    return f"{PREFIX}.{flow}.lease"


def overrides_queue(flow: str) -> str:
    """Name the stream of an operator's overrides: `eventflow.{flow}.runtime`."""
    return f"{PREFIX}.{flow}.runtime"


def control_queue(instance: str) -> str:
    """Name a processor's own queue on the control exchange: `eventflow.control.{instance}`."""
    return f"{CONTROL_EXCHANGE}.{instance}"


RETRY_QUEUE = re.compile(rf"{PREFIX}\.({FLOW_NAME.pattern})\.retry\.(\d+)")


SHIELDS = (
    # If an operator policy limits the length, this refuses new messages instead of dropping old ones.
    PolicySpec(name=PREFIX, pattern=rf"^{PREFIX}[.]", definition={"overflow": "reject-publish"}),
    # Streams do not support overflow, so the policy above does not apply to them. This one only repeats an argument.
    PolicySpec(
        name=f"{PREFIX}-streams",
        pattern=rf"^{PREFIX}[.][^.]+[.]runtime$",
        definition={"stream-max-segment-size-bytes": OVERRIDES_MAX_BYTES // 4},
    ),
)
"""Policies of our own that keep other policies from our queues. Neither of them can delete a message."""


def permissions_command(user: str, *, vhost: str) -> str:
    """Return the shell command that gives a user all rights that the services need."""
    return shlex.join(["rabbitmqctl", "set_permissions", "-p", vhost, user, *RIGHTS])


def flow_of(queue: str) -> str | None:
    """Return the flow of a queue by its name; None if the queue is not one of ours."""
    prefix, _, rest = queue.partition(".")
    flow, _, kind = rest.partition(".")
    return flow if prefix == PREFIX and kind and FLOW_NAME.fullmatch(flow) else None


def _quorum(**arguments: str | int) -> dict[str, str | int]:
    own = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT, **own}


def _dead_lettering_to(queue: str) -> dict[str, str | int]:
    # In the queue's own arguments and not in a policy: a policy can be removed, and without a dead-letter target
    # expired messages are deleted.
    return _quorum(
        x_dead_letter_exchange="",
        x_dead_letter_routing_key=queue,
        x_dead_letter_strategy="at-least-once",
        x_overflow="reject-publish",  # required: without it RabbitMQ silently uses at-most-once
    )


def lane_specs(flow: str) -> tuple[QueueSpec, ...]:
    """Return the three lanes of a flow."""
    arguments = _dead_lettering_to(dead_queue(flow))
    return tuple(QueueSpec(name=lane_queue(flow, lane), arguments=arguments) for lane in Lane)


def dead_spec(flow: str) -> QueueSpec:
    """Return the dead queue: no time limit, no length limit."""
    return QueueSpec(name=dead_queue(flow), arguments=_quorum())


def retry_specs(flow: str, delays_s: tuple[float, ...]) -> tuple[QueueSpec, ...]:
    """Return one queue for each delay. Its messages expire into the lane `due`."""
    arguments = _dead_lettering_to(lane_queue(flow, Lane.DUE))
    return tuple(
        QueueSpec(
            name=retry_queue(flow, delay_s),
            arguments={**arguments, "x-message-ttl": round(delay_s * 1000)},
        )
        for delay_s in delays_s
    )


def lease_spec(flow: str) -> QueueSpec:
    """Return the lease queue, which never has a message (ADR 20)."""
    return QueueSpec(name=lease_queue(flow), arguments=_quorum())


def overrides_spec(flow: str) -> QueueSpec:
    """Return the stream of an operator's overrides: every processor reads the last, and none removes it (ADR 8)."""
    return QueueSpec(
        name=overrides_queue(flow),
        arguments={
            "x-queue-type": "stream",
            "x-max-length-bytes": OVERRIDES_MAX_BYTES,
            "x-stream-max-segment-size-bytes": OVERRIDES_MAX_BYTES // 4,
        },
    )


def ingest_specs(flow: str) -> tuple[QueueSpec, ...]:
    """Return the queues that the collector needs: the dead queue first, then the lanes, which dead-letter to it."""
    return (dead_spec(flow), *lane_specs(flow))


def flow_specs(flow: str, delays_s: tuple[float, ...]) -> tuple[QueueSpec, ...]:
    """Return every queue of a flow, each after its dead-letter target."""
    return (*ingest_specs(flow), *retry_specs(flow, delays_s), lease_spec(flow))
