"""Selections of attempts for which every store has an index, so that no page can be slow. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from eventflow.errors import UnboundedFilterError
from eventflow.history.records import OUTCOMES, from_unix_microseconds, storable_text, unix_microseconds

RANGE_MAX = timedelta(days=1)
"""Longest range of time in which attempts are selected by conditions without an index."""

FAILURES = "failures"
"""In place of an outcome: every attempt that was not a settled success."""

FAILURE_SQL = "(outcome <> 'delivered' OR NOT settled)"
"""`records.is_failure` in SQL. Stores use it in their partial indexes, and, letter for letter, in the queries for which
such an index is to be used."""

PAGE_MAX = 200

_CURSOR = re.compile(r"(-?[0-9]{1,18})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFilter:
    """Attempts of one flow. All conditions must be met; None is no condition.

    Attributes:
        outcome: One of `OUTCOMES`, or `FAILURES`.
        since: Earliest start, inclusive.
        until: Latest start, exclusive.
    """

    flow: str
    outcome: str | None = None
    reason: str | None = None
    status: int | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Check that the selection is bounded.

        Raises:
            UnboundedFilterError: It would read an unbounded number of rows; the message has the remedy.
        """
        if self.outcome is not None and self.outcome not in (*OUTCOMES, FAILURES):
            expected = ", ".join((*OUTCOMES, FAILURES))
            raise UnboundedFilterError(f"outcome {self.outcome!r} is unknown; one of these is expected: {expected}")
        has_condition = self.reason is not None or self.status is not None or self.type is not None
        is_broad = self.outcome == "delivered" or (has_condition and not self.is_of_failures)
        if is_broad and not self._is_short:
            raise UnboundedFilterError(
                "a reason, a status or a type is searched among failures, or in a time range of at most "
                f"{RANGE_MAX.days} day: set the outcome to `{FAILURES}`, or give both ends of such a range"
            )

    @property
    def is_of_failures(self) -> bool:
        """Whether only attempts without a success are selected; stores have small indexes of these."""
        return self.outcome is not None and self.outcome != "delivered"

    @property
    def conditions(self) -> Iterator[tuple[str, str, str | int | datetime]]:
        """Each condition as a column, an operator of SQL and a value. If `is_of_failures`, add `FAILURE_SQL`."""
        equal = {"flow": self.flow, "reason": self.reason, "status": self.status, "type": self.type}
        if self.outcome != FAILURES:
            equal["outcome"] = self.outcome
        for column, value in equal.items():
            if value is not None:
                yield column, "=", storable_text(value) if isinstance(value, str) else value
        if self.since is not None:
            yield "started_at", ">=", self.since
        if self.until is not None:
            yield "started_at", "<", self.until

    @property
    def _is_short(self) -> bool:
        return self.since is not None and self.until is not None and self.until - self.since <= RANGE_MAX


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in a list of attempts, which is sorted by start and id, the newest first: the last one of a page."""

    started_at: datetime
    id: str

    @property
    def text(self) -> str:
        """The cursor in an address."""
        return f"{unix_microseconds(self.started_at)}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read a cursor from an address.

        Raises:
            ValueError: It is not one.
        """
        match = _CURSOR.fullmatch(text)
        try:
            if match is not None:
                return cls(from_unix_microseconds(int(match[1])), match[2])
        except OverflowError:
            pass
        raise ValueError("the cursor is malformed; begin again with the first page")
