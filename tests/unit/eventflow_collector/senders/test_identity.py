"""Places in a request that hold an event's attributes."""

import json

import pytest
from multidict import CIMultiDict

from eventflow.senders.vocabulary import Header, Pointer, Sender, Text, Time
from eventflow_collector.senders.identity import Identity, moment_of
from eventflow_collector.senders.request import Request
from tests.support.requests import request_of

ONE = Sender(
    name="one",
    title="One",
    authentication=(),
    id=(Text(parts=(Header("X-One"),)),),
    type=(Text(parts=(Header("X-Type"),)),),
    is_known_by_headers=True,
)
OTHER = Sender(
    name="other",
    title="Other",
    authentication=(),
    id=(Text(parts=(Header("X-Other"),)),),
    type=(Text(parts=(Pointer("/event/kind"), Header("X-Type")), suffix=Pointer("/event/action"), separator="."),),
    time=(Time(place=Pointer("/event/0/at")),),
    is_known_by_headers=True,
)


def request(headers: dict[str, str], document: object = None) -> Request:
    return request_of(CIMultiDict(headers), json.dumps(document).encode())


@pytest.mark.parametrize("seconds", [None, "True", "1.5", "-1", "", "1e3", "9" * 30, "{}", str(10**30)])
def test_what_is_no_time_in_seconds_is_none(seconds: str | None) -> None:
    assert moment_of(seconds, "unix_s") is None
    assert moment_of(seconds, "unix_ms") is None
    assert moment_of(seconds, "rfc3339") is None


def test_seconds_and_milliseconds_are_the_same_moment() -> None:
    assert moment_of("1752408000", "unix_s") == moment_of("1752408000000", "unix_ms")


def test_the_first_senders_header_counts() -> None:
    identity = Identity([ONE, OTHER])
    assert identity.id_headers == ("X-One", "X-Other")
    assert identity.id_of(request({"x-other": "2", "x-one": "1"})) == "1"
    assert identity.id_of(request({"x-other": "2", "x-one": " "})) == "2"
    assert identity.id_of(request({})) is None


def test_only_the_verified_senders_body_is_read() -> None:
    document = {"event": {"kind": "order", "action": "paid"}}
    headers = {"X-Type": "t"}
    assert not Identity([ONE, OTHER]).reads_more
    verified = Identity([OTHER], verified=OTHER)
    assert verified.reads_more
    assert verified.type_of(request(headers, document)) == "order.t.paid"
    assert verified.type_of(request(headers, {"event": {"kind": "order"}})) == "order.t"
    assert verified.type_of(request(headers, {"event": {"kind": "order", "action": "x" * 255}})) == "order.t"
    assert verified.type_of(request({}, document)) is None
    assert Identity([ONE, OTHER], verified=OTHER).type_of(request(headers, document)) == "t"
    assert verified.time_of(request(headers, {"event": [{"at": "2025-07-13T12:00:00Z"}]})) is not None
    assert verified.time_of(request(headers, {"event": [{"at": 1}]})) is None


@pytest.mark.parametrize("names", [(), ("x-one",), ("x-type",), ("x-other", "x-type"), ("x-one", "x-other", "x-type")])
def test_an_identity_narrowed_to_the_headers_of_a_request_finds_the_same(names: tuple[str, ...]) -> None:
    own = Sender(name="own", title="Own", authentication=(), subject=(Text(parts=(Header("X-One"), Header("X-Type"))),))
    identity = Identity([ONE, OTHER], verified=OTHER, own=own)
    narrowed = identity.narrowed(frozenset(names))
    document = {"event": {"kind": "order", "action": "paid"}}
    given = request(dict.fromkeys(names, "v"), document)
    assert (narrowed.id_of(given), narrowed.type_of(given)) == (identity.id_of(given), identity.type_of(given))
    assert narrowed.own is not None
    assert identity.own is not None
    assert narrowed.own.subject_of(given) == identity.own.subject_of(given)
