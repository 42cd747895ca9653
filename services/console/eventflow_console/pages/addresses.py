"""Addresses of the pages. Ids and filters are always in the query, so that no text of a sender is a path. Pure."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from eventflow.event import format_time

VALUE_MAX_CHARACTERS: Final = 512


def address(path: str, **query: object) -> str:
    """Return an address with a query; None and empty texts are left out."""
    pairs = [(name, _text(value)) for name, value in query.items() if value is not None and value != ""]
    return f"{path}?{urlencode(pairs, errors='replace')}" if pairs else path


def _text(value: object) -> str:
    """Return a value in a query. No real value is longer, so the address of a longer one would find nothing."""
    return format_time(value.astimezone(UTC)) if isinstance(value, datetime) else str(value)[:VALUE_MAX_CHARACTERS]
