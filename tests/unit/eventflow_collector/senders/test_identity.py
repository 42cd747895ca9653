"""Places in a request that hold an event's attributes."""

import pytest
from multidict import CIMultiDict

from eventflow.senders.vocabulary import Header, Pointer, Sender, Text, Time
from eventflow_collector.senders.identity import Identity, moment_of

ONE = Sender(name="one", title="One", signature=None, id=Header("X-One"), type=Text(parts=(Header("X-Type"),)))
OTHER = Sender(
    name="other",
    title="Other",
    signature=None,
    id=Header("X-Other"),
    type=Text(parts=(Pointer("/event/kind"), Header("X-Type")), suffix=Pointer("/event/action"), separator="."),
    time=Time(place=Pointer("/event/0/at"), format="rfc3339"),
)


@pytest.mark.parametrize("seconds", [None, True, 1.5, -1, "", "1e3", "9" * 30, {}, 10**30])
def test_what_is_no_time_in_seconds_is_none(seconds: object) -> None:
    assert moment_of(seconds) is None


def test_the_first_senders_header_counts() -> None:
    identity = Identity([ONE, OTHER])
    assert identity.id_headers == ("X-One", "X-Other")
    assert identity.id_in_headers(CIMultiDict({"x-other": "2", "x-one": "1"})) == "1"
    assert identity.id_in_headers(CIMultiDict({"x-other": "2", "x-one": " "})) == "2"
    assert identity.id_in_headers(CIMultiDict()) is None


def test_only_the_verified_senders_body_is_read() -> None:
    document = {"event": {"kind": "order", "action": "paid"}}
    headers = CIMultiDict({"X-Type": "t"})
    assert not Identity([ONE, OTHER]).reads_body
    verified = Identity([OTHER], verified=OTHER)
    assert verified.reads_body
    assert verified.type_of(headers, b"", document) == "order.t.paid"
    assert verified.type_of(headers, b"", {"event": {"kind": "order"}}) == "order.t"
    assert verified.type_of(headers, b"", {"event": {"kind": "order", "action": "x" * 255}}) == "order.t"
    assert verified.type_of(CIMultiDict(), b"", document) is None
    assert Identity([ONE, OTHER], verified=OTHER).type_of(headers, b"", document) == "t"
    assert verified.time_of(headers, {"event": [{"at": "2025-07-13T12:00:00Z"}]}) is not None
    assert verified.time_of(headers, {"event": [{"at": 1}]}) is None
