"""Dead letters as rows of a table, and as groups by reason, status, type and time."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from eventflow.event import format_time, parse_time
from eventflow.operations.dead.selection import Selection
from eventflow_console.pages import words
from eventflow_console.pages.addresses import address

GROUPS_MAX: Final = 8
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRow:
    """One dead letter in a table.

    Attributes:
        died_at: Time of its last failure; None if the broker itself gave it up.
        words: The beginning of the target's last answer, or of the last error; empty if there is none.
    """

    event_id: str
    type: str
    died_at: datetime | None
    attempts: int
    status: int | None
    reason: str
    detail: str | None
    words: str
    body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dead letters that have something in common.

    Attributes:
        address: The page with only these.
    """

    label: str
    count: int
    address: str


def letter_rows(records: Iterable[Mapping[str, Any]]) -> Sequence[LetterRow]:
    """Return the rows of dead letters, as `summary_of` describes them."""
    return [
        LetterRow(
            event_id=record["id"],
            type=record["type"],
            died_at=_died_at(record),
            attempts=record["attempts"],
            status=record.get("last_status"),
            reason=record["reason"],
            detail=record.get("detail"),
            words=record.get("text") or "",
            body_bytes=record["body_bytes"],
        )
        for record in records
    ]


def groups_of(
    records: Sequence[Mapping[str, Any]], query: Mapping[str, str], now: datetime
) -> Sequence[tuple[str, Sequence[Group]]]:
    """Return groups of dead letters by reason, by type and by hour, each with its name; the largest groups first.

    Args:
        records: The dead letters.
        query: The conditions of the page, which each group narrows.
        now: The present time.
    """
    hours = Counter(
        died_at.replace(minute=0, second=0, microsecond=0)
        for record in records
        if (died_at := _died_at(record)) is not None
    )
    statuses = Counter(status for record in records if (status := record.get("last_status")) is not None)
    named = {
        "By reason": [
            Group(label=label, count=count, address=_narrowed(query, reason=label))
            for label, count in Counter(record["reason"] for record in records).most_common(GROUPS_MAX)
        ],
        "By status": [
            Group(label=f"HTTP {label}", count=count, address=_narrowed(query, status=label))
            for label, count in statuses.most_common(GROUPS_MAX)
        ],
        "By type": [
            Group(label=label, count=count, address=_narrowed(query, type=label))
            for label, count in Counter(record["type"] for record in records).most_common(GROUPS_MAX)
        ],
        "By hour": [
            Group(
                label=f"{words.clock(hour, now)[:-3]} to {words.clock(hour + _HOUR, now)[:-3]}",
                count=count,
                address=_narrowed(query, since=hour, until=hour + _HOUR),
            )
            for hour, count in sorted(hours.most_common(GROUPS_MAX))
        ],
    }
    return [(name, groups) for name, groups in named.items() if groups]


def fields_of(flow: str, selection: Selection) -> Sequence[tuple[str, object]]:
    """Return a selection as the fields of a form or of an address, with absolute times."""
    return [
        ("flow", flow),
        *(("reason", reason) for reason in sorted(selection.reasons)),
        *(("status", status) for status in sorted(selection.statuses)),
        *(("type", kind) for kind in sorted(selection.types)),
        *(("since", format_time(moment)) for moment in (selection.since,) if moment is not None),
        *(("until", format_time(moment)) for moment in (selection.until,) if moment is not None),
        *(("id", event_id) for event_id in sorted(selection.ids)),
    ]


def conditions_of(selection: Selection) -> Sequence[tuple[str, str]]:
    """Return the conditions of a selection in words, each with its name."""
    found = [("Reason", each) for each in sorted(selection.reasons)]
    found += [("Status", str(each)) for each in sorted(selection.statuses)]
    found += [("Type", each) for each in sorted(selection.types)]
    if selection.since is not None:
        found.append(("Given up since", f"{selection.since:%Y-%m-%d %H:%M:%S} UTC"))
    if selection.until is not None:
        found.append(("Given up before", f"{selection.until:%Y-%m-%d %H:%M:%S} UTC"))
    if selection.ids:
        found.append(("Events", words.counted(len(selection.ids), "selected event")))
    return found or [("Which", "all dead letters of the flow")]


def _died_at(record: Mapping[str, Any]) -> datetime | None:
    return parse_time(record.get("last_failed_at") or "")


def _narrowed(query: Mapping[str, str], **narrower: object) -> str:
    return address("/dead", **{**query, **narrower})
