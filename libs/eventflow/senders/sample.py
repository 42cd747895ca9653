"""A sample request as a sender would make it, signed with a secret of the flow. Pure."""

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never
from urllib.parse import urlencode

from eventflow.errors import EventFlowError
from eventflow.event import format_time
from eventflow.json_pointer import value_at
from eventflow.senders.keys import key_of, secrets_for
from eventflow.senders.template import Field, Optional, Part, parse_template
from eventflow.senders.vocabulary import (
    FORM,
    Basic,
    Condition,
    FirstMember,
    FormField,
    Header,
    Hmac,
    Item,
    Place,
    Pointer,
    Query,
    Scheme,
    Sender,
    Signed,
    SubPath,
    Text,
    TimeFormat,
    Token,
)

_VALUE = "sample"


class CannotSignError(EventFlowError):
    """A request of this sender cannot be made without a key that only the sender has."""


@dataclass(slots=True, kw_only=True)
class Sample:
    """A request while it is made.

    Attributes:
        url: The public address of the flow, which some senders sign.
        event_id: The id of its event; None if the sender has no place for one.
        headers: By name.
        query: The parameters of the query.
        sub_path: The path behind that of the flow; empty, or it begins with a slash.
        form: The fields of the body if it is a form.
        document: The body if it is JSON.
    """

    url: str
    event_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    sub_path: str = ""
    form: dict[str, str] = field(default_factory=dict)
    document: Any = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return urlencode(self.form).encode() if self.form else json.dumps(self.document).encode()

    @property
    def address(self) -> str:
        """The public address with the path and the query of this request."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{self.url}{self.sub_path}{query}"

    def put(self, place: Place, text: str) -> None:
        """Put a text at a place."""
        match place:
            case Header(header=name):
                self.headers[name] = text
            case Pointer(pointer=path):
                self.document = _with(self.document, path.split("/")[1:], text)
            case FirstMember(first_member=name):
                self.document = {name: text, **self.document}
            case FormField(form=name):
                self.form[name] = text
            case Query(query=name):
                self.query[name] = text
            case SubPath():
                self.sub_path = f"/{text}"
            case _:
                assert_never(place)


def sample_of(sender: Sender, *, secrets: Sequence[str], url: str, event_id: str, now: datetime) -> Sample:
    """Make a request with an event of the type `sample`.

    Args:
        sender: The sender.
        secrets: Of the flow; the first one that fits is used.
        url: The public address of the flow.
        event_id: Id of the event, or the first part of it.
        now: The time of the request.

    Raises:
        CannotSignError: Only the sender has the key.
    """
    for scheme in sender.authentication:
        usable = secrets_for(scheme, secrets)
        if usable and isinstance(scheme, Hmac | Token | Basic):
            sample = _unsigned(sender, scheme, url=url, event_id=event_id, now=now)
            _authenticate(sample, scheme, usable[0], now)
            sample.event_id = _id_of(sender, sample)
            return sample
    raise CannotSignError(
        f"a request of {sender.title} cannot be made here: only the sender, or the proxy in front, has the key"
    )


def _unsigned(sender: Sender, scheme: Scheme, *, url: str, event_id: str, now: datetime) -> Sample:
    """Make a request that has an event's attributes, at the first of their places that fits to the body."""
    sample = Sample(url=url)
    is_form = _needs_form(scheme)
    _put_attributes(sample, sender, is_form=is_form, event_id=event_id)
    for time in sender.time:
        if _fits(time.place, is_form=is_form):
            sample.put(time.place, written_time(now, time.format))
    if is_form:
        sample.form.setdefault(_VALUE, _VALUE)
    sample.headers["Content-Type"] = FORM if is_form else "application/json"
    if isinstance(scheme, Signed):
        for condition in scheme.when:
            _fulfill(sample, condition)
    return sample


def _put_attributes(sample: Sample, sender: Sender, *, is_form: bool, event_id: str) -> None:
    for texts in (sender.type, sender.source, sender.subject):
        for place in _first_fitting(texts, is_form=is_form):
            sample.put(place, _VALUE)
    id_places = _first_fitting(sender.id, is_form=is_form)
    for place in id_places[:1]:
        sample.put(place, event_id)
    for place in id_places[1:]:
        if _text_at(sample, place) is None:
            sample.put(place, _VALUE)


def _id_of(sender: Sender, sample: Sample) -> str | None:
    for text in sender.id:
        found = [_text_at(sample, place) for place in text.parts]
        if all(found):
            suffix = None if text.suffix is None else _text_at(sample, text.suffix)
            return text.separator.join([*map(str, found), *(() if suffix is None else (suffix,))])
    return None


def _first_fitting(texts: Iterable[Text], *, is_form: bool) -> Sequence[Place]:
    return next((text.parts for text in texts if all(_fits(place, is_form=is_form) for place in text.parts)), ())


def _fits(place: Place, *, is_form: bool) -> bool:
    return not isinstance(place, Pointer | FirstMember if is_form else FormField)


def _needs_form(scheme: Scheme) -> bool:
    if isinstance(scheme, Token):
        return isinstance(scheme.token, FormField)
    if not isinstance(scheme, Signed):
        return False
    places = (scheme.signature, scheme.timestamp, *scheme.fields.values())
    return "{form}" in scheme.signed or any(isinstance(place, FormField) for place in places)


def _fulfill(sample: Sample, condition: Condition) -> None:
    if condition.begins is not None:
        sample.put(condition.place, condition.begins)
    elif not condition.is_absent:
        sample.put(condition.place, str(_VALUE if condition.equals is None else condition.equals))


def _authenticate(sample: Sample, scheme: Hmac | Token | Basic, secret: str, now: datetime) -> None:
    match scheme:
        case Hmac():
            _sign(sample, scheme, secret, now)
        case Token(token=place, prefix=prefix):
            sample.put(place, f"{prefix}{secret}")
        case Basic():
            sample.headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
        case _:
            assert_never(scheme)


def _sign(sample: Sample, scheme: Hmac, secret: str, now: datetime) -> None:
    items, fields = [], {}
    places = dict(scheme.fields)
    values = dict.fromkeys(places, _VALUE)
    if scheme.timestamp is not None:
        places["timestamp"], values["timestamp"] = scheme.timestamp, written_time(now, scheme.timestamp_format)
    for name, place in places.items():
        if isinstance(place, Item):
            items.append(f"{place.item}{values[name]}")
            fields[name] = values[name]
        else:
            # A field that is an event's attribute too, such as its id, has its value already.
            fields[name] = _text_at(sample, place) or values[name]
            sample.put(place, fields[name])
    if scheme.body_sha256 is not None:
        sample.put(scheme.body_sha256, hashlib.sha256(sample.body).hexdigest())
    signed = _rendered(parse_template(scheme.signed), fields, sample, secret)
    digest = hmac.digest(key_of(secret, scheme.key), signed.encode("latin-1"), scheme.algorithm)
    written = _encoded(digest, scheme)
    sample.put(scheme.signature, scheme.separator.join([*items, f"{scheme.prefix}{written}"]))


def _rendered(parts: Iterable[Part], fields: Mapping[str, str], sample: Sample, secret: str) -> str:
    body = sample.body
    known = {
        **fields,
        "body": body.decode("latin-1"),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "body_crc32": str(zlib.crc32(body)),
        "url": sample.address,
        "method": "POST",
        "form": "".join(name + value for name, value in sorted(sample.form.items())),
        "secret": secret,
    }
    pieces = []
    for part in parts:
        match part:
            case str():
                pieces.append(part)
            case Field(name=name):
                pieces.append(known[name])
            case Optional(parts=optional):
                pieces.append(_rendered(optional, fields, sample, secret))
            case _:
                assert_never(part)
    return "".join(pieces)


def _encoded(digest: bytes, scheme: Signed) -> str:
    match scheme.encoding:
        case "hex":
            return digest.hex()
        case "base64":
            return base64.b64encode(digest).decode()
        case "base64url":
            return base64.urlsafe_b64encode(digest).decode()
        case _:
            assert_never(scheme.encoding)


def written_time(moment: datetime, form: TimeFormat) -> str:
    """Write a moment in the form that a sender uses."""
    match form:
        case "rfc3339":
            return format_time(moment)
        case "unix_s":
            return str(int(moment.timestamp()))
        case "unix_ms":
            return str(int(moment.timestamp() * 1000))
        case _:
            assert_never(form)


def _text_at(sample: Sample, place: Place) -> str | None:
    match place:
        case Header(header=name):
            return sample.headers.get(name)
        case FormField(form=name):
            return sample.form.get(name)
        case Pointer(pointer=path):
            value = value_at(sample.document, path)
            return value if isinstance(value, str) else None
        case _:
            return None


def _with(document: Any, steps: Sequence[str], text: str) -> Any:
    """Return a document with a text at the steps of a JSON pointer; arrays and objects on the way are made."""
    if not steps:
        return text
    name = steps[0].replace("~1", "/").replace("~0", "~")
    if name.isdecimal() or name == "*":
        index = 0 if name == "*" else int(name)
        elements = list(document) if isinstance(document, list) else []
        elements += [{}] * (index + 1 - len(elements))
        elements[index] = _with(elements[index], steps[1:], text)
        return elements
    members = dict(document) if isinstance(document, dict) else {}
    members[name] = _with(members.get(name), steps[1:], text)
    return members
