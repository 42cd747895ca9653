"""The rate and the pause of a flow: read, and changed while the flow runs."""

from collections.abc import Callable
from dataclasses import dataclass

from eventflow.amqp.queues import depth_of
from eventflow.amqp.streams import last_of_stream
from eventflow.control.overrides import (
    RATE_MAX_PER_S,
    RATE_MIN_PER_S,
    InvalidOverridesError,
    Overrides,
    decode_overrides,
    encode_overrides,
)
from eventflow.errors import InvalidInputError
from eventflow.message import Message, new_message_id
from eventflow.operations.session import CONFIRM_TIMEOUT_S, Link, publishing
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane, lane_queue, overrides_queue, overrides_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRate:
    """The rate of a flow; `processors` is None if the flow has no queue yet."""

    flow: str
    target: TargetSettings
    overrides: Overrides
    processors: int | None

    @property
    def limit_per_s(self) -> float | None:
        """The rate in force, in units per second for all processors together; None is unlimited."""
        return self.target.rate_per_s if self.overrides.rate_per_s is None else self.overrides.rate_per_s

    @property
    def each_per_s(self) -> float | None:
        """The share of one processor; None if it is unlimited or if there is no processor."""
        return self.limit_per_s / self.processors if self.limit_per_s is not None and self.processors else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The overrides of a flow after a change.

    Attributes:
        replaced: The message in the broker that could not be read and counts as none; None if it could.
    """

    overrides: Overrides
    replaced: InvalidOverridesError | None = None


def units_per_s_of(text: str) -> float:
    """Parse a rate in units per second.

    Raises:
        InvalidInputError: It is not a rate in the accepted range.
    """
    try:
        return require_rate(float(text))
    except (ValueError, InvalidInputError):
        raise _no_rate(repr(text)) from None


def require_rate(per_s: float) -> float:
    """Return a rate in units per second.

    Raises:
        InvalidInputError: It is not in the accepted range.
    """
    if not RATE_MIN_PER_S <= per_s <= RATE_MAX_PER_S:
        raise _no_rate(f"{per_s:g}")
    return per_s


def _no_rate(shown: str) -> InvalidInputError:
    return InvalidInputError(f"{shown}: {RATE_MIN_PER_S:f} to {RATE_MAX_PER_S} units per second are expected")


async def read_rate(link: Link, flow: str, target: TargetSettings) -> FlowRate:
    """Return the rate of a flow.

    Raises:
        BrokerUnavailableError: The broker does not answer.
        InvalidOverridesError: The overrides in the broker cannot be read.
    """
    depth = await depth_of(link.connection, lane_queue(flow, Lane.LIVE))
    return FlowRate(
        flow=flow,
        target=target,
        overrides=await read_overrides(link, flow),
        processors=depth.consumers if depth else None,
    )


async def read_overrides(link: Link, flow: str) -> Overrides:
    """Return the overrides of a flow.

    Raises:
        BrokerUnavailableError: The broker does not answer.
        InvalidOverridesError: The overrides in the broker cannot be read.
    """
    body = await last_of_stream(link.connection, overrides_queue(flow))
    return Overrides() if body is None else decode_overrides(body)


async def change_overrides(link: Link, flow: str, changed: Callable[[Overrides], Overrides]) -> Changed:
    """Change the overrides of a flow; return when the broker has confirmed the change.

    Raises:
        BrokerUnavailableError: The broker does not answer, or does not let us publish.
    """
    async with publishing(link, [overrides_spec(flow)]) as publisher:
        replaced = None
        try:
            present = await read_overrides(link, flow)
        except InvalidOverridesError as error:  # it counts as none, so that a new message can replace it
            present, replaced = Overrides(), error
        overrides = changed(present)
        message = Message(
            body=encode_overrides(overrides), headers={}, content_type="application/json", message_id=new_message_id()
        )
        await publisher.publish(message, queue=overrides_queue(flow)).confirmed(timeout_s=CONFIRM_TIMEOUT_S)
        return Changed(overrides=overrides, replaced=replaced)
