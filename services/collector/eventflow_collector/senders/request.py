"""A whole request as the engine reads it, and the texts at the places that the vocabulary names. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import assert_never

from eventflow.errors import InvalidEventError
from eventflow.json_pointer import value_at
from eventflow.senders.vocabulary import FirstMember, FormField, Header, Place, Pointer, Query, SubPath
from eventflow_collector import strict_json
from eventflow_collector.head import first_values

FORM = "application/x-www-form-urlencoded"

FindText = Callable[["Request"], str | None]
"""Returns the text at a place in a request, as it was sent; None if there is none."""

_UNREAD = object()


class Request:
    """The parts of a request. The body, a form and the query are parsed at most once, and only if a place needs it.

    Attributes:
        headers: A mapping that ignores case.
        body: The bytes as received.
        method: In capitals.
        query: The query of the address as it was written, without the question mark.
        sub_path: The rest of the path behind the flow's name, without the slash between them.
    """

    __slots__ = ("_document", "_form", "_parameters", "body", "headers", "method", "query", "sub_path")

    def __init__(
        self, headers: Mapping[str, str], body: bytes, *, method: str = "POST", query: str = "", sub_path: str = ""
    ) -> None:
        self.headers = headers
        self.body = body
        self.method = method
        self.query = query
        self.sub_path = sub_path
        self._document: object = _UNREAD
        self._form: Mapping[str, str] | None = None
        self._parameters: Mapping[str, str] | None = None

    def without_body(self) -> "Request":
        """Return the request with an empty body."""
        return Request(self.headers, b"", method=self.method, query=self.query, sub_path=self.sub_path)

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
            media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            self._form = first_values(self.body.decode("latin-1")) if media_type == FORM else {}
        return self._form

    @property
    def parameters(self) -> Mapping[str, str]:
        """The first value of each parameter of the query."""
        if self._parameters is None:
            self._parameters = first_values(self.query)
        return self._parameters


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
            return lambda request: request.parameters.get(name)
        case SubPath():
            return lambda request: request.sub_path or None
        case _:
            assert_never(place)


def text_of(value: object) -> str | None:
    """Return a text, or the digits of a whole number; None for any other value of JSON."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None
