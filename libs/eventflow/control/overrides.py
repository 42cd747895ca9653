"""Overrides: settings that an operator may change while a flow runs, kept in the broker. Pure.

Each change is a whole document in the stream `eventflow.{flow}.runtime`; the last one counts (ADR 8).
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from eventflow.errors import EventFlowError
from eventflow.event import format_time, is_valid_attribute, parse_time

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
        paused_at: Time of the pause; None if nothing is paused, or if an older version has paused it.
        paused_by: The operator, as `user@host`; None as for `paused_at`.
    """

    rate_per_s: float | None = None
    is_paused: bool = False
    paused_at: datetime | None = None
    paused_by: str | None = None

    def pause(self, *, at: datetime, by: str) -> "Overrides":
        """Return them with a pause. A pause that is in force already keeps its time and its operator."""
        if self.is_paused:
            return self
        return replace(self, is_paused=True, paused_at=at, paused_by=by)

    def resume(self) -> "Overrides":
        """Return them without a pause."""
        return replace(self, is_paused=False, paused_at=None, paused_by=None)


def encode_overrides(overrides: Overrides) -> bytes:
    """Write a document of overrides."""
    document: dict[str, Any] = {"rate_per_s": overrides.rate_per_s, "paused": overrides.is_paused}
    if overrides.paused_at is not None:
        document["paused_at"] = format_time(overrides.paused_at)
    if overrides.paused_by is not None:
        document["paused_by"] = overrides.paused_by
    return json.dumps(document).encode()


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
        case {"rate_per_s": None | int() | float() as rate_per_s, "paused": bool() as is_paused} if _is_rate(
            rate_per_s
        ):
            return Overrides(
                rate_per_s=None if rate_per_s is None else float(rate_per_s),
                is_paused=is_paused,
                paused_at=_time(document.get("paused_at")) if is_paused else None,
                paused_by=_operator(document.get("paused_by")) if is_paused else None,
            )
    raise InvalidOverridesError(f"not the overrides of a flow: {body[:80]!r}")


def _is_rate(value: float | None) -> bool:
    return value is None or (not isinstance(value, bool) and RATE_MIN_PER_S <= value <= RATE_MAX_PER_S)


def _time(value: object) -> datetime | None:
    """Read a time. An unusable one must not undo the pause, so it counts as unknown."""
    return parse_time(value) if isinstance(value, str) else None


def _operator(value: object) -> str | None:
    return value if isinstance(value, str) and is_valid_attribute(value) else None
