"""Requests to servers on this machine, never through a proxy."""

import urllib.request
from collections.abc import Mapping

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TIMEOUT_S = 5.0


def get(url: str) -> bytes:
    """Return the body of a 2xx answer.

    Raises:
        OSError: There was no answer, or another status.
    """
    with _OPENER.open(url, timeout=_TIMEOUT_S) as answer:
        return bytes(answer.read())


def post(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Post, and return the body of a 2xx answer.

    Raises:
        OSError: There was no answer, or another status.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers))
    with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
        return bytes(answer.read())
