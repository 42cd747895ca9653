"""Find an event's id, type, source, subject and time in a request, by the table of senders. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

from eventflow.event import is_valid_attribute, is_valid_text, parse_time, require_attribute
from eventflow.senders.vocabulary import FirstMember, Header, Place, Pointer, Sender, Text, Time, TimeFormat
from eventflow_collector.senders.conditions import all_fulfilled
from eventflow_collector.senders.request import FindText, Request, text_finder

_DIGITS = re.compile(r"\d{1,14}", re.ASCII)
SECONDS_MAX_DIGITS = 11

T = TypeVar("T", Text, Time)
F = TypeVar("F")

_Headers = Mapping[str, str]
_FindTime = Callable[[Request], datetime | None]


class _Search(NamedTuple, Generic[F]):
    """The search for an attribute at one place.

    Attributes:
        needs: The names, in lower case, of the headers without which nothing is found.
        name: Of the place, for an error message.
        find: The function that searches a request.
    """

    needs: frozenset[str]
    name: str
    find: F


class _Searches(NamedTuple):
    """The searches for each attribute, in the order of their use."""

    ids: Sequence[_Search[FindText]]
    types: Sequence[_Search[FindText]]
    sources: Sequence[_Search[FindText]]
    subjects: Sequence[_Search[FindText]]
    times: Sequence[_Search[_FindTime]]

    def among(self, names: frozenset[str]) -> "_Searches":
        """Return the searches that need no header other than these."""
        return _Searches(
            ids=tuple(search for search in self.ids if search.needs <= names),
            types=tuple(search for search in self.types if search.needs <= names),
            sources=tuple(search for search in self.sources if search.needs <= names),
            subjects=tuple(search for search in self.subjects if search.needs <= names),
            times=tuple(search for search in self.times if search.needs <= names),
        )


class Identity:
    """The places of an event's attributes in the requests of one flow, prepared once.

    First the headers of the known senders are used, in the order of the senders. After them the places of the sender
    that the flow verifies are used, in the body and elsewhere.

    Attributes:
        own: The places that the operator names for the flow, which come before all others; None if there are none.
        id_headers: The names of the headers with an id, in the order of their use.
        headers: The names, in lower case, of all headers with an attribute. A request without any of them has no
            attribute, unless other places are read.
        reads_more: Whether a place is not in the headers, so that every request must be searched.
        reads_elements: Whether a place is in JSON, so that each element of a batch is searched too.
    """

    def __init__(self, known: Iterable[Sender], *, verified: Sender | None = None, own: Sender | None = None) -> None:
        """Prepare the places of all `known` senders, of the one that the flow verifies, and of the operator's `own`."""
        senders = [sender for sender in known if sender.is_known_by_headers or sender is verified]
        if verified is not None and verified not in senders:
            senders.append(verified)
        ids = _in_order((sender.id, sender is verified) for sender in senders)
        types = _in_order((sender.type, sender is verified) for sender in senders)
        sources = _in_order((sender.source, sender is verified) for sender in senders)
        subjects = _in_order((sender.subject, sender is verified) for sender in senders)
        times = _in_order((sender.time, sender is verified) for sender in senders)
        self._searches = _Searches(
            ids=tuple(_text_search(text) for text in ids),
            types=tuple(_text_search(text) for text in types),
            sources=tuple(_text_search(text) for text in sources),
            subjects=tuple(_text_search(text) for text in subjects),
            times=tuple(_Search(_needs_of(time), "", _time_finder(time)) for time in times),
        )
        places = [
            place for texts in (ids, types, sources, subjects, times) for one in texts for place in _places_of(one)
        ]
        self.own: Identity | None = None if own is None else Identity((), verified=own)
        inner = () if self.own is None else (self.own,)
        headers = frozenset(place.header.lower() for place in places if isinstance(place, Header))
        self.headers: frozenset[str] = headers.union(*(one.headers for one in inner))
        self.id_headers = tuple(
            text.parts[0].header for text in ids if len(text.parts) == 1 and isinstance(text.parts[0], Header)
        )
        self.reads_more: bool = any(not isinstance(place, Header | FirstMember) for place in places) or any(
            one.reads_more for one in inner
        )
        self.reads_elements: bool = any(isinstance(place, Pointer) for place in places) or any(
            one.reads_elements for one in inner
        )

    def narrowed(self, names: frozenset[str]) -> "Identity":
        """Return the identity without the places that need a header other than these, in lower case.

        It finds the same in a request that has no other header with an attribute, and does not search for the rest.
        """
        one = copy(self)
        one._searches = self._searches.among(names)  # noqa: SLF001 - of the same class
        one.own = None if self.own is None else self.own.narrowed(names)
        return one

    def id_of(self, request: Request) -> str | None:
        """Return the id; None if there is none.

        Raises:
            InvalidEventError: A message cannot carry it. It is not replaced, because a repeated request would then
                become a second event.
        """
        for _, name, find in self._searches.ids:
            value = find(request)
            if value and not value.isspace():
                return require_attribute(name, value)
        return None

    def type_of(self, request: Request) -> str | None:
        """Return the type; None if there is none that a message can carry."""
        return _first(self._searches.types, request)

    def source_of(self, request: Request) -> str | None:
        """Return the source; None if there is none that a message can carry."""
        return _first(self._searches.sources, request, is_valid_text)

    def subject_of(self, request: Request) -> str | None:
        """Return the subject; None if there is none that a message can carry."""
        return _first(self._searches.subjects, request, is_valid_text)

    def time_of(self, request: Request) -> datetime | None:
        """Return the time; None if there is none, or it cannot be read."""
        for _, _, find in self._searches.times:
            if (moment := find(request)) is not None:
                return moment
        return None


def require_id(headers: _Headers, name: str) -> str | None:
    """Return the id in a header; None if the header is absent or empty.

    Raises:
        InvalidEventError: A message cannot carry it; see `Identity.id_of`.
    """
    value = headers.get(name)
    return None if not value or value.isspace() else require_attribute(f"the header {name}", value)


def moment_of(text: str | None, form: TimeFormat) -> datetime | None:
    """Return the moment that a text stands for; None if it stands for none."""
    if text is None:
        return None
    if form == "rfc3339":
        return parse_time(text)
    if not _DIGITS.fullmatch(text) or (form == "unix_s" and len(text) > SECONDS_MAX_DIGITS):
        return None
    return datetime.fromtimestamp(int(text) / (1000 if form == "unix_ms" else 1), UTC)


def usable(value: str) -> str | None:
    """Return a text if it can be an attribute of an event; otherwise None."""
    return value if is_valid_attribute(value) else None


def _in_order(texts: Iterable[tuple[tuple[T, ...], bool]]) -> list[T]:
    """Order the places: those in the headers of all senders first, then the others of the verified sender."""
    pairs = [(text, is_own) for some, is_own in texts for text in some]
    in_headers = [text for text, _ in pairs if _is_in_headers(text)]
    return in_headers + [text for text, is_own in pairs if is_own and not _is_in_headers(text)]


def _is_in_headers(text: Text | Time) -> bool:
    return all(isinstance(place, Header | FirstMember) for place in _places_of(text))


def _places_of(text: Text | Time) -> list[Place]:
    if isinstance(text, Time):
        return [text.place]
    conditions = (condition.place for condition in text.when)
    return [*text.parts, *(() if text.suffix is None else (text.suffix,)), *conditions]


def _name_of(text: Text) -> str:
    """Return the name of an id's place for an error message."""
    first = text.parts[0]
    return f"the header {first.header}" if isinstance(first, Header) else "the id in the request"


def _text_search(text: Text) -> _Search[FindText]:
    return _Search(_needs_of(text), _name_of(text), _text_finder(text))


def _needs_of(text: Text | Time) -> frozenset[str]:
    """Return the names, in lower case, of the headers without which nothing is found."""
    places = [text.place] if isinstance(text, Time) else text.parts  # a suffix may be absent
    return frozenset(place.header.lower() for place in places if isinstance(place, Header))


def _first(
    searches: Iterable[_Search[FindText]], request: Request, is_valid: Callable[[str], bool] = is_valid_attribute
) -> str | None:
    for _, _, find in searches:
        if (value := find(request)) is not None and is_valid(value):
            return value
    return None


def _text_finder(text: Text) -> FindText:
    find = _joined_finder(text)
    if not text.when:
        return find
    applies = all_fulfilled(text.when)
    return lambda request: find(request) if applies(request) else None


def _joined_finder(text: Text) -> FindText:
    parts = [text_finder(place) for place in text.parts]
    suffix = None if text.suffix is None else text_finder(text.suffix)
    if len(parts) == 1 and suffix is None:
        return parts[0]

    def find(request: Request) -> str | None:
        found: list[str] = []
        for part in parts:
            if not (value := part(request)):
                return None
            found.append(value)
        base = text.separator.join(found)
        if suffix is None or not (end := suffix(request)):
            return base
        return usable(f"{base}{text.separator}{end}") or base

    return find


def _time_finder(time: Time) -> _FindTime:
    find = text_finder(time.place)
    return lambda request: moment_of(find(request), time.format)
