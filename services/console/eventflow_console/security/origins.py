"""Requests that other sites make through the browser of an operator (CSRF). Pure.

A browser adds the operator's password to them by itself, so the password proves nothing here.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
JSON: Final = "application/json"

_SITE, _MODE, _DESTINATION = "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"
_OWN: Final = frozenset({"same-origin", "none"})
"""`none` is an address that a person has typed, or a reload."""


def foreign_reason(method: str, headers: Mapping[str, str]) -> str | None:
    """Return the reason to refuse a request that another site makes, or may make; None if it is the console's own.

    Browsers send `Sec-Fetch-Site` over HTTPS and to loopback, and `Origin` with each change. Programs send neither, and
    are recognized by the content type: a browser sends JSON to another site only after that site has allowed it.
    """
    site = headers.get(_SITE)
    if method in SAFE_METHODS:
        is_link = headers.get(_MODE) == "navigate" and headers.get(_DESTINATION) in {"document", None}
        return None if site is None or site in _OWN or is_link else "another site asks for it"
    if site is not None:
        return None if site in _OWN else "another site asks for a change"
    origin = headers.get("Origin")
    if origin is not None:
        return None if _is_same(origin, headers.get("Host", "")) else "another site asks for a change"
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return None if content_type == JSON else "neither Origin nor Sec-Fetch-Site shows that the console's own page asks"


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin is the host of the request. Its scheme does not count: a proxy in front may add TLS."""
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
