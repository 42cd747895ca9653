"""The text that a sender signs, written from its request by a template. Pure."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import assert_never

from eventflow.senders.checks import SECRET, TIMESTAMP
from eventflow.senders.template import Field, Optional, Part, parse_template
from eventflow.senders.vocabulary import Item, Signed, SignedPlace
from eventflow.signing import header_bytes
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request, text_finder

Items = Sequence[str]
"""The items in the header of a signature."""

FindSigned = Callable[[Request, Items], str | None]
"""Returns a signed text in a request, or beside its signature; None if there is none."""

WriteText = Callable[[Request, Items], bytes | None]
"""Returns the bytes that are signed; None if one of them is absent."""


def text_writers(scheme: Signed, means: Means) -> tuple[WriteText, ...]:
    """Return the function that writes the signed text for each of the secrets.

    There is only one function if the text contains no secret.
    """
    template = parse_template(scheme.signed)
    readers = _readers_of(scheme, means.public_url)
    if not any(isinstance(part, Field) and part.name == SECRET for part in template):
        return (_writer_of(template, readers),)
    return tuple(
        _writer_of(tuple(secret if part == Field(SECRET) else part for part in template), readers)
        for secret in means.secrets
    )


def signed_finder(place: SignedPlace) -> FindSigned:
    """Prepare to find a signed text in a request, or among the items beside its signature."""
    if isinstance(place, Item):
        return partial(_item_with, place.item)
    find = text_finder(place)
    return lambda request, _: find(request)


def _item_with(prefix: str, _request: Request, items: Items) -> str | None:
    for item in items:
        if item.startswith(prefix):
            return item[len(prefix) :]
    return None


def _readers_of(scheme: Signed, public_url: str) -> Mapping[str, WriteText]:
    """Return the readers of all fields by name."""
    places = dict(scheme.fields)
    if scheme.timestamp is not None:
        places[TIMESTAMP] = scheme.timestamp
    return {
        "body": lambda request, _: request.body,
        "body_sha256": lambda request, _: hashlib.sha256(request.body).hexdigest().encode(),
        "body_crc32": lambda request, _: b"%d" % zlib.crc32(request.body),
        "method": lambda request, _: header_bytes(request.head.method),
        "url": lambda request, _: header_bytes(_url_of(request, public_url)),
        "form": lambda request, _: _form_of(request),
        **{name: _reader_at(place) for name, place in places.items()},
    }


def _reader_at(place: SignedPlace) -> WriteText:
    find = signed_finder(place)
    return lambda request, items: None if (text := find(request, items)) is None else header_bytes(text)


def _writer_of(template: Iterable[Part], readers: Mapping[str, WriteText]) -> WriteText:
    """Compile a template: its constants become a format, and its fields are looked up once."""
    form, found = b"", []
    for part in template:
        match part:
            case str():
                form += part.encode().replace(b"%", b"%%")
            case Field(name=name):
                form += b"%b"
                found.append(readers[name])
            case Optional(parts=parts):
                form += b"%b"
                found.append(_optional(_writer_of(parts, readers)))
            case _:
                assert_never(part)
    if form == b"%b":
        return found[0]

    def write(request: Request, items: Items) -> bytes | None:
        values = [read(request, items) for read in found]
        return None if None in values else form % tuple(values)

    return write


def _optional(write: WriteText) -> WriteText:
    return lambda request, items: write(request, items) or b""


def _url_of(request: Request, public_url: str) -> str:
    """Return the address of a request as its sender has it: `PUBLIC_URL`, and the rest as it was written."""
    head = request.head
    url = f"{public_url.rstrip('/')}{head.sub_path}" if head.sub_path else public_url
    return f"{url}?{head.query}" if head.query else url


def _form_of(request: Request) -> bytes | None:
    """Return the names and values of a form, sorted; None if the body is not a form.

    The type of the body is not signed. If a body of another type counted as an empty form, a signature of the address
    alone would fit any body.
    """
    pairs = request.form_pairs
    if pairs is None:
        return None if request.body else b""
    return header_bytes("".join(name + value for name, value in sorted(set(pairs))))
