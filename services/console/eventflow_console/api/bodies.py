"""Reads the JSON body of a request strictly: an unknown member may be a typing error that changes the meaning."""

import asyncio
import json
from collections.abc import Collection
from typing import Any, Final

from aiohttp import web

from eventflow.errors import InvalidInputError
from eventflow_console.refusals import RequestRefusedError

BODY_DEADLINE_S: Final = 10.0
JSON: Final = "application/json"


async def body_of(request: web.Request, *, known: Collection[str]) -> dict[str, Any]:
    """Return the members of the JSON object in the body of a request.

    Raises:
        RequestRefusedError: It is of another type, or does not come in time.
        InvalidInputError: It is no JSON object, or has an unknown member.
    """
    if request.content_type != JSON:
        raise RequestRefusedError(415, f"A body of the type {JSON} is expected.")
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            content = await request.read()
    except TimeoutError:
        raise RequestRefusedError(408, f"The body did not come within {BODY_DEADLINE_S:g} s.") from None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidInputError("the body is expected to be a JSON object")
    require_known(document, known)
    return document


def texts_in(document: dict[str, Any]) -> dict[str, str]:
    """Return the members that are texts, without those that are null.

    Raises:
        InvalidInputError: A member has another type.
    """
    found = {name: value for name, value in document.items() if value is not None}
    for name, value in found.items():
        if not isinstance(value, str):
            raise InvalidInputError(f"{name}: a text is expected")
    return found


def require_known(names: Collection[str], known: Collection[str]) -> None:
    """Check that all names are known.

    Raises:
        InvalidInputError: One is not.
    """
    if unknown := set(names) - set(known):
        expected = ", ".join(known) or "none"
        raise InvalidInputError(f"{min(unknown)[:64]!r} is unknown; these are expected: {expected}")
