"""A whole request as the engine reads it, and the texts at the places that the vocabulary names. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import assert_never
from urllib.parse import unquote

from eventflow.errors import InvalidEventError
from eventflow.json_pointer import value_at
from eventflow.senders.vocabulary import FORM, FirstMember, FormField, Header, Place, Pointer, Query, SubPath
from eventflow_collector import strict_json
from eventflow_collector.head import Head, Peer, pairs_in

FindText = Callable[["Request"], str | None]
"""Returns the text at a place in a request, as it was sent; None if there is none."""

_UNREAD = object()


class Request:
    """A whole request. The body and a form in it are parsed at most once, and only if a place needs it.

    Attributes:
        head: The lines before the body.
        headers: Those of the head.
        body: The bytes as received.
        peer: The side that sent it; None if it does not matter.
    """

    __slots__ = ("_document", "_form", "body", "head", "headers", "peer")

    def __init__(self, head: Head, body: bytes, peer: Peer | None = None) -> None:
        self.head = head
        self.headers = head.headers
        self.body = body
        self.peer = peer
        self._document: object = _UNREAD
        self._form: Mapping[str, str] | None = None

    @property
    def document(self) -> object:
        """The parsed body; None if it is not JSON."""
        if self._document is _UNREAD:
            try:
                self._document = strict_json.parse(self.body)
            except InvalidEventError:
                self._document = None
        return self._document

    @property
    def form(self) -> Mapping[str, str]:
        """The first value of each field of a form in the body; nothing if the body is not a form."""
        if self._form is None:
            self._form = dict(reversed(self.form_pairs or ()))
        return self._form

    @property
    def form_pairs(self) -> list[tuple[str, str]] | None:
        """All names and values of a form in the body, decoded; None if the body is not a form."""
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != FORM:
            return None
        return pairs_in(self.body.decode(errors="surrogateescape"))


def text_finder(place: Place) -> FindText:
    """Prepare to find the text at a place."""
    match place:
        case Header(header=name):
            return lambda request: request.headers.get(name)
        case Pointer(pointer=path):
            return lambda request: text_of(value_at(request.document, path))
        case FirstMember(first_member=name):
            pattern = re.compile(rb'\s*\{\s*"%b"\s*:\s*"([A-Za-z_]{1,64})"' % re.escape(name.encode()))
            return lambda request: None if (found := pattern.match(request.body)) is None else found[1].decode()
        case FormField(form=name):
            return lambda request: request.form.get(name)
        case Query(query=name):
            return lambda request: request.head.parameter(name)
        case SubPath():
            return lambda request: unquote(request.head.sub_path[1:], errors="surrogateescape") or None
        case _:
            assert_never(place)


def text_of(value: object) -> str | None:
    """Return a text, or the digits of a whole number; None for any other value of JSON."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None
