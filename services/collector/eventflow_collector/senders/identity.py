"""Find an event's id, type, source and time in a request, by the table of senders. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import TypeVar, assert_never

from eventflow.event import is_valid_attribute, parse_time, require_attribute
from eventflow.json_pointer import value_at
from eventflow.senders.vocabulary import FirstMember, Header, Place, Pointer, Sender, Text, Time

_SECONDS = re.compile(r"\d{1,11}", re.ASCII)

T = TypeVar("T", Text, Time)

_Headers = Mapping[str, str]
_FindText = Callable[[_Headers, bytes, object], str | None]
_FindTime = Callable[[_Headers, object], datetime | None]


class Identity:
    """The places of an event's attributes in the requests of one flow, prepared once.

    First the headers of all known senders are used, in the order of the senders. After them the body is used, but only
    at the places of the sender that the flow verifies.

    Attributes:
        id_headers: The names of the headers with an id, in the order of their use.
        headers: The names, in lower case, of all headers with an attribute. Without one of them, and unless the body is
            read, a request has no attribute.
        reads_body: Whether a place is in the parsed body, so that the caller must parse it.
    """

    def __init__(self, known: Iterable[Sender], *, verified: Sender | None = None) -> None:
        """Prepare the places of all `known` senders and of the one that the flow verifies."""
        senders = tuple(known)
        self.id_headers = tuple(sender.id.name for sender in senders if isinstance(sender.id, Header))
        own = () if verified is None else (verified,)
        self._id_pointers = tuple(sender.id.path for sender in own if isinstance(sender.id, Pointer))
        types = _in_order([sender.type for sender in senders], [sender.type for sender in own])
        sources = _in_order([sender.source for sender in senders], [sender.source for sender in own])
        times = _in_order([sender.time for sender in senders], [sender.time for sender in own])
        self._types = tuple(map(_text_finder, types))
        self._sources = tuple(map(_text_finder, sources))
        self._times = tuple(map(_time_finder, times))
        others: list[Text | Time] = [*types, *sources, *times]
        self.headers = frozenset(
            name.lower() for name in (*self.id_headers, *chain.from_iterable(map(_headers_of, others)))
        )
        self.reads_body = bool(self._id_pointers) or any(map(_is_in_body, others))

    def id_in_headers(self, headers: _Headers) -> str | None:
        """Return the id in the headers; None if there is none.

        Raises:
            InvalidEventError: A message cannot carry it.
        """
        for name in self.id_headers:
            if name in headers and (value := require_id(headers, name)) is not None:
                return value
        return None

    def id_in_body(self, document: object) -> str | None:
        """Return the id in the parsed body; None if there is none.

        Raises:
            InvalidEventError: A message cannot carry it.
        """
        for pointer in self._id_pointers:
            value = value_at(document, pointer)
            if value and isinstance(value, str):
                return require_attribute("the body's id", value)
        return None

    def type_of(self, headers: _Headers, body: bytes, document: object) -> str | None:
        """Return the type; None if there is none that a message can carry."""
        return _first(self._types, headers, body, document)

    def source_of(self, headers: _Headers, body: bytes, document: object) -> str | None:
        """Return the source; None if there is none that a message can carry."""
        return _first(self._sources, headers, body, document)

    def time_of(self, headers: _Headers, document: object) -> datetime | None:
        """Return the time; None if there is none, or it cannot be read."""
        for find in self._times:
            if (moment := find(headers, document)) is not None:
                return moment
        return None


def require_id(headers: _Headers, name: str) -> str | None:
    """Return the id in a header; None if the header is absent or empty.

    Raises:
        InvalidEventError: A message cannot carry it. It is not replaced, because a repeated request would then become a
            second event.
    """
    value = headers.get(name)
    return None if not value or value.isspace() else require_attribute(f"the header {name}", value)


def moment_of(seconds: object) -> datetime | None:
    """Return the moment of whole seconds since 1970, as a number or its digits; None for anything else."""
    if seconds is None:
        return None
    text = str(seconds) if isinstance(seconds, int | str) and not isinstance(seconds, bool) else ""
    return datetime.fromtimestamp(int(text), UTC) if _SECONDS.fullmatch(text) else None


def usable(value: str) -> str | None:
    """Return a text if it can be an attribute of an event; otherwise None."""
    return value if is_valid_attribute(value) else None


def _in_order(known: Iterable[T | None], own: Iterable[T | None]) -> list[T]:
    """Order the places: the headers of all senders first, then the body of the sender that the flow verifies."""
    in_headers = [place for place in known if place is not None and not _is_in_body(place)]
    return in_headers + [place for place in own if place is not None and _is_in_body(place)]


def _is_in_body(place: Text | Time) -> bool:
    """Whether the body must be parsed to find the value."""
    return any(isinstance(one, Pointer) for one in _places_of(place))


def _headers_of(place: Text | Time) -> Iterable[str]:
    return (one.name for one in _places_of(place) if isinstance(one, Header))


def _places_of(place: Text | Time) -> Iterable[Place | None]:
    return (place.place,) if isinstance(place, Time) else (*place.parts, place.suffix)


def _first(finders: Iterable[_FindText], headers: _Headers, body: bytes, document: object) -> str | None:
    for find in finders:
        if (value := find(headers, body, document)) is not None:
            return value
    return None


def _text_finder(text: Text) -> _FindText:
    parts = [_place_finder(place) for place in text.parts]
    suffix = None if text.suffix is None else _place_finder(text.suffix)
    if len(parts) == 1 and suffix is None:
        return parts[0]

    def find(headers: _Headers, body: bytes, document: object) -> str | None:
        found: list[str] = []
        for part in parts:
            if (value := part(headers, body, document)) is None:
                return None
            found.append(value)
        base = usable(text.separator.join(found))
        if base is None or suffix is None or (end := suffix(headers, body, document)) is None:
            return base
        return usable(f"{base}{text.separator}{end}") or base

    return find


def _place_finder(place: Place) -> _FindText:
    match place:
        case Header(name=header):
            return lambda headers, _, __: None if (value := headers.get(header)) is None else usable(value)
        case FirstMember(name=member):
            pattern = re.compile(rb'\s*\{\s*"%b"\s*:\s*"([A-Za-z_]{1,64})"' % re.escape(member.encode()))
            return lambda _, body, __: None if (found := pattern.match(body)) is None else found[1].decode()
        case Pointer(path=path):
            return lambda _, __, document: usable(value) if isinstance(value := value_at(document, path), str) else None
        case _:
            assert_never(place)


def _time_finder(time: Time) -> _FindTime:
    read = _READERS[time.format]
    match time.place:
        case Header(name=header):
            return lambda headers, _: read(headers.get(header))
        case Pointer(path=path):
            return lambda _, document: read(value_at(document, path))
        case _:
            assert_never(time.place)


def _rfc3339(value: object) -> datetime | None:
    return parse_time(value) if isinstance(value, str) else None


_READERS: Mapping[str, Callable[[object], datetime | None]] = {"rfc3339": _rfc3339, "unix_s": moment_of}
