"""Overrides: settings that an operator may change while a flow runs, kept in the broker. Pure.

Each change is a whole document in the stream `eventflow.{flow}.runtime`; the last one counts (ADR 8).
"""

import json
from dataclasses import dataclass

from eventflow.errors import EventFlowError

RATE_MAX_PER_S = 1_000_000
RATE_MIN_PER_S = 0.00001
"""Less than one event a day: such a rate is most likely a typing error. `eventflow pause` stops a flow."""


class InvalidOverridesError(EventFlowError):
    """A message in the stream is no document of overrides: another program has published it, or a later version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Settings that hold for a flow in place of its configuration.

    Attributes:
        rate_per_s: Units per second for all processors together; None leaves the configured rate in force.
        is_paused: Nothing is sent to the target.
    """

    rate_per_s: float | None = None
    is_paused: bool = False


def encode_overrides(overrides: Overrides) -> bytes:
    """Write a document of overrides."""
    return json.dumps({"rate_per_s": overrides.rate_per_s, "paused": overrides.is_paused}).encode()


def decode_overrides(body: bytes) -> Overrides:
    """Read a document of overrides.

    Raises:
        InvalidOverridesError: The body is no such document.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"rate_per_s": None, "paused": bool() as is_paused}:
            return Overrides(is_paused=is_paused)
        case {"rate_per_s": int() | float() as rate_per_s, "paused": bool() as is_paused} if (
            not isinstance(rate_per_s, bool) and RATE_MIN_PER_S <= rate_per_s <= RATE_MAX_PER_S
        ):
            return Overrides(rate_per_s=float(rate_per_s), is_paused=is_paused)
    raise InvalidOverridesError(f"not the overrides of a flow: {body[:80]!r}")
