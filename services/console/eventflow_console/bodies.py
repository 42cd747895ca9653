"""Bodies of requests, read within bounds: JSON of programs, and forms of pages.

JSON is read strictly: an unknown member may be a typing error that changes the meaning.
"""

import asyncio
import json
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from eventflow.errors import InvalidInputError
from eventflow_console.refusals import RequestRefusedError

BODY_DEADLINE_S: Final = 10.0
FIELDS_MAX: Final = 2000
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


async def json_of(request: web.Request, *, known: Collection[str]) -> dict[str, Any]:
    """Return the members of the JSON object in the body of a request.

    Raises:
        RequestRefusedError: It is of another type, or does not come in time.
        InvalidInputError: It is no JSON object, or has an unknown member.
    """
    content = await _content_of(request, JSON)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidInputError("the body is expected to be a JSON object")
    require_known(document, known)
    return document


async def form_of(request: web.Request) -> MultiDictProxy[str]:
    """Return the fields of the form in the body of a request.

    aiohttp's `post()` would also read files, and fails for a content type that names an unknown charset.

    Raises:
        RequestRefusedError: It is of another type, or does not come in time.
        InvalidInputError: It has too many fields.
    """
    content = await _content_of(request, FORM)
    try:
        fields = parse_qsl(content.decode(errors="replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise InvalidInputError(f"a form may have at most {FIELDS_MAX} fields") from None
    return MultiDictProxy(MultiDict(fields))


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


async def _content_of(request: web.Request, media_type: str) -> bytes:
    if request.content_type != media_type:
        raise RequestRefusedError(415, f"A body of the type {media_type} is expected.")
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            return await request.read()
    except TimeoutError:
        raise RequestRefusedError(408, f"The body did not come within {BODY_DEADLINE_S:g} s.") from None
