"""Times as an operator writes them. Pure."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from eventflow.errors import InvalidInputError
from eventflow.event import parse_time, utc_now

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHORT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


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
