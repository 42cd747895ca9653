"""Requests to what runs on this machine, never by a proxy."""

import urllib.request
from collections.abc import Mapping

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TIMEOUT_S = 5.0


def get(url: str) -> bytes:
    """Return what a 2xx answer holds.

    Raises:
        OSError: Nothing listens there, or it answers otherwise.
    """
    with _OPENER.open(url, timeout=_TIMEOUT_S) as answer:
        return bytes(answer.read())


def post(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Post, and return what a 2xx answer holds.

    Raises:
        OSError: Nothing listens there, or it answers otherwise.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers))
    with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
        return bytes(answer.read())
