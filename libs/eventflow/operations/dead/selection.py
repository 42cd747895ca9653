"""Selections of dead letters, and the words and times from which an operator composes them."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from eventflow.amqp.browser import Browsed
from eventflow.errors import InvalidInputError
from eventflow.event import parse_time, utc_now
from eventflow.network.failure import MEANINGS
from eventflow.operations.dead.letters import REASONS, detail_of, given_up_at, reason_of

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHORT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The dead letters that a command handles: those that satisfy every condition that is given.

    Attributes:
        reasons: Reasons, or details of failed connections.
        since: The earliest time at which an event was given up.
        until: The time before which it was given up.
    """

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it has no condition."""
        return self == Selection()

    def has(self, letter: Browsed) -> bool:
        """Return True if a dead letter is selected."""
        event = letter.envelope.event
        return (
            (not self.ids or event.id in self.ids)
            and (not self.types or event.type in self.types)
            and (not self.reasons or not self.reasons.isdisjoint({reason_of(letter), detail_of(letter)}))
            and (self.since is None or given_up_at(letter) >= self.since)
            and (self.until is None or given_up_at(letter) < self.until)
        )


def require_reasons(words: Iterable[str]) -> None:
    """Check words that select dead letters by their reason, or by its detail.

    Raises:
        InvalidInputError: A word is neither.
    """
    for word in words:
        if word not in REASONS and word not in MEANINGS:
            known = f"reasons are {', '.join(REASONS)}; details are {', '.join(MEANINGS)}"
            raise InvalidInputError(f"{word!r} is unknown: {known}")


def moment_of(text: str) -> datetime:
    """Parse a time: RFC 3339, the same without seconds or without a zone (UTC), a date, or a duration before now.

    Raises:
        InvalidInputError: It is none of them.
    """
    if ago := _AGO.fullmatch(text):
        with suppress(OverflowError):  # before the year 1
            return utc_now() - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    if short := _SHORT.fullmatch(text):
        text = f"{short[1]}T{short[2] or '00:00'}{short[3] or ':00'}{short[4] or 'Z'}"
    moment = parse_time(text)
    if moment is None:
        expected = "a time such as 2026-11-28, 2026-11-28T02:00 or 2026-11-28T02:00:00+01:00, or 2h"
        raise InvalidInputError(f"{text!r}: {expected} is expected")
    return moment.astimezone(UTC)
