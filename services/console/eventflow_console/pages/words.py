"""Numbers, durations and times as people read them. Pure.

An unknown value is a dash and never 0, because an operator would take 0 for a fact.
"""

import math
from datetime import UTC, datetime
from typing import Final

from eventflow.operations.status import eta

UNKNOWN: Final = "-"
_THIN_SPACE: Final = "\u202f"
"""Separates thousands. It is narrow, and no line breaks at it."""

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


def number(value: float | None) -> str:
    """Return a count: `1 240`."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace(",", _THIN_SPACE)


def rate(per_s: float | None) -> str:
    """Return a rate with three digits: `12.4/s`. A rate below one event a second is shown by the minute or hour."""
    if per_s is None:
        return UNKNOWN
    if math.isinf(per_s):
        return "unlimited"
    for unit_s, unit in ((1, "s"), (_MINUTE_S, "min"), (_HOUR_S, "h")):
        if per_s * unit_s >= 1 or per_s == 0:
            return f"{_three_digits(per_s * unit_s)}/{unit}"
    return f"{_three_digits(per_s * _DAY_S)}/day"


def duration(seconds: float | None) -> str:
    """Return a duration in the unit that fits: `42 ms`, `1.5 s`, `12 min`, `3 h`, `2 days`."""
    if seconds is None:
        return UNKNOWN
    if math.isinf(seconds):
        return "never"
    if seconds < 0.9995:
        milliseconds = max(seconds, 0.0) * 1000
        return f"{_three_digits(milliseconds) if milliseconds < 10 else round(milliseconds)} ms"
    if seconds >= 2 * _MINUTE_S:
        return eta.duration(seconds)  # as the command line shows it
    return f"{_three_digits(seconds)} s"


def size(size_bytes: int | None) -> str:
    """Return a size: `812 bytes`, `1.2 kB`, `3.4 MB`."""
    if size_bytes is None:
        return UNKNOWN
    for unit_bytes, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.3g} {unit}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"


def percent(part: float | None, whole: float | None) -> str:
    """Return a part of a whole: `84 %`."""
    if part is None or not whole or math.isinf(whole):
        return UNKNOWN
    return f"{100 * part / whole:.0f} %"


def ago(moment: datetime, now: datetime) -> str:
    """Return the distance of a time from now: `2 min ago`, `in 30 s`."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{duration(math.floor(seconds))} ago" if seconds > 0 else f"in {duration(math.ceil(-seconds))}"


def clock(moment: datetime, now: datetime) -> str:
    """Return a time in UTC: `03:12:04`; with its date if that is not today's."""
    utc, today = moment.astimezone(UTC), now.astimezone(UTC).date()
    if utc.date() == today:
        return f"{utc:%H:%M:%S}"
    return f"{utc:%d %b %H:%M:%S}" if utc.year == today.year else f"{utc:%Y-%m-%d %H:%M:%S}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 event`, `1 240 events`."""
    return f"{number(count)} {singular if count == 1 else plural or f'{singular}s'}"


def sentence(text: str) -> str:
    """Return an error as a sentence: with a capital at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return number(value)
    return f"{value:.1f}".removesuffix(".0") if value >= 9.995 else f"{value:.2f}".rstrip("0").rstrip(".")
