"""Selections of dead letters."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from eventflow.amqp.browser import Browsed
from eventflow.errors import InvalidInputError
from eventflow.event import format_time
from eventflow.network.failure import MEANINGS
from eventflow.operations.dead.letters import REASONS, detail_of, given_up_at, reason_of, status_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The dead letters that a command handles: those that satisfy every condition that is given.

    Attributes:
        reasons: Reasons, or details of failed connections.
        statuses: HTTP statuses of the last attempt.
        since: The earliest time at which an event was given up.
        until: The time before which it was given up.
    """

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
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
            and (not self.statuses or status_of(letter) in self.statuses)
            and (self.since is None or given_up_at(letter) >= self.since)
            and (self.until is None or given_up_at(letter) < self.until)
        )


def in_words(selection: Selection) -> str:
    """Describe a selection: `reason client_error, HTTP 422, since 2026-11-28T02:00:00.000Z`, `2 ids`, or `all`.

    The ids themselves are left out, because records of actions outlive an event that is to be forgotten.
    """
    parts = [
        f"{len(selection.ids)} id{'' if len(selection.ids) == 1 else 's'}" if selection.ids else "",
        f"reason {' or '.join(sorted(selection.reasons))}" if selection.reasons else "",
        f"HTTP {' or '.join(map(str, sorted(selection.statuses)))}" if selection.statuses else "",
        f"type {' or '.join(sorted(selection.types))}" if selection.types else "",
        "" if selection.since is None else f"since {format_time(selection.since)}",
        "" if selection.until is None else f"until {format_time(selection.until)}",
    ]
    return ", ".join(part for part in parts if part) or "all"


def require_reasons(words: Iterable[str]) -> None:
    """Check words that select dead letters by their reason, or by its detail.

    Raises:
        InvalidInputError: A word is neither.
    """
    for word in words:
        if word not in REASONS and word not in MEANINGS:
            known = f"reasons are {', '.join(REASONS)}; details are {', '.join(MEANINGS)}"
            raise InvalidInputError(f"{word!r} is unknown: {known}")
