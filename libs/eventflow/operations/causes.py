"""Causes of failures in words, as `status`, `why` and `dead` show them."""

from eventflow.network.failure import explained


def cause_in_words(*, reason: str, detail: str | None, status: int | None, text: str | None) -> str:
    """Return `client_error, HTTP 422, "..."`, or `connection, no_listener: nothing listens on its port, "..."`."""
    parts = [
        reason,
        None if status is None else f"HTTP {status}",
        None if detail is None else explained(detail),
        None if text is None else f'"{text}"',
    ]
    return ", ".join(part for part in parts if part is not None)
