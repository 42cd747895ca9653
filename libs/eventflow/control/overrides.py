"""What an operator may change while a flow runs, kept in the broker. Pure.

Each change is a whole document in the stream `eventflow.{flow}.runtime`; the last one counts (ADR 8).
"""

import json
from dataclasses import dataclass

from eventflow.errors import EventFlowError

RATE_MAX_PER_S = 1_000_000
RATE_MIN_PER_S = 0.00001
"""Less than one event a day: such a rate is a slip of the keyboard, and `pause` is the word for none."""


class InvalidOverridesError(EventFlowError):
    """The document of a change is not one: somebody else has published to the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What holds for a flow beside its configuration.

    Attributes:
        rate_per_s: In place of the configured rate, units per second for all processors; None leaves that one in force.
        is_paused: Nothing is sent to the target.
    """

    rate_per_s: float | None = None
    is_paused: bool = False


def encode_overrides(settings: Overrides) -> bytes:
    """Write the document of a change."""
    return json.dumps({"rate_per_s": settings.rate_per_s, "paused": settings.is_paused}).encode()


def decode_overrides(body: bytes) -> Overrides:
    """Read the document of a change.

    Raises:
        InvalidOverridesError: It is none, or from a later version.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"rate_per_s": None, "paused": bool() as is_paused}:
            return Overrides(is_paused=is_paused)
        case {"rate_per_s": int() | float() as rate_per_s, "paused": bool() as is_paused} if (
            not isinstance(rate_per_s, bool) and 0 < rate_per_s <= RATE_MAX_PER_S
        ):
            return Overrides(rate_per_s=float(rate_per_s), is_paused=is_paused)
    raise InvalidOverridesError(f"no settings of a flow: {body[:80]!r}")
