"""Events that a handler derives."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.errors import InvalidEventError
from eventflow.event import ATTRIBUTE_MAX_BYTES, Event, is_valid_attribute
from eventflow.handling import Context
from eventflow.handling.derived import derived_id
from eventflow.handling.inbox import SOURCE_MAX_BYTES, key_of
from eventflow.outbox.new_event import Body

TRACEPARENT = f"00-{'1' * 32}-{'2' * 16}-01"
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def event(id: str = "order-1", source: str = "shop") -> Event:  # noqa: A002 - the name of the attribute
    return Event(
        id=id, source=source, type="order.created", time=NOW, accepted_at=NOW, body=b"{}", traceparent=TRACEPARENT
    )


def context(**changed: str) -> Context:
    return Context(event=event(**changed), flow="orders", flows=("orders", "notify"))


def test_a_repetition_derives_the_same_ids_in_the_same_order() -> None:
    for _ in range(2):
        call = context()
        assert [call.derive(type="a", flow="notify").id for _ in range(3)] == ["order-1/0", "order-1/1", "order-1/2"]


def test_a_derived_event_is_of_the_same_source_and_continues_the_trace() -> None:
    derived = context().derive(type="order.paid", flow="notify", body={"paid": True}, subject="order-1")
    assert (derived.flow, derived.type, derived.source, derived.subject) == ("notify", "order.paid", "shop", "order-1")
    assert (derived.body, derived.content_type, derived.traceparent) == (
        b'{"paid":true}',
        "application/json",
        TRACEPARENT,
    )


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        (b"\x00\xff", b"\x00\xff", None),
        ("grün", "grün".encode(), "text/plain; charset=utf-8"),
        ([1, "ü"], '[1,"ü"]'.encode(), "application/json"),
    ],
)
def test_the_kind_of_body_decides_the_content_type(body: Body, content: bytes, content_type: str | None) -> None:
    derived = context().derive(type="a", flow="notify", body=body)
    assert (derived.body, derived.content_type) == (content, content_type)
    assert context().derive(type="a", flow="notify", body=body, content_type="a/b").content_type == "a/b"


@pytest.mark.parametrize("body", [1, None, {1, 2}, object()])
def test_another_kind_of_body_is_an_error(body: object) -> None:
    with pytest.raises(TypeError, match="a body is bytes, a str, a dict or a list"):
        context().derive(type="a", flow="notify", body=body)  # type: ignore[arg-type]


def test_an_unknown_flow_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="flow 'notifi' is not configured; there are: notify, orders"):
        context().derive(type="a", flow="notifi")


@pytest.mark.parametrize("changed", [{"type": ""}, {"type": "a" * 256}, {"subject": "\n"}, {"content_type": "\r\n"}])
def test_a_wrong_attribute_is_an_error(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidEventError, match=next(iter(changed))):
        context().derive(**({"type": "a", "flow": "notify"} | changed))


@given(st.text(min_size=1, max_size=255).filter(is_valid_attribute), st.integers(0, 10_000))
def test_a_derived_id_is_valid_stable_and_of_one_event_only(event_id: str, number: int) -> None:
    found = derived_id(event_id, number)
    assert is_valid_attribute(found)
    assert found == derived_id(event_id, number) != derived_id(event_id, number + 1)


def test_an_id_that_would_be_too_long_is_a_hash() -> None:
    assert derived_id("a" * 253, 7) == "a" * 253 + "/7"
    assert len(derived_id("a" * ATTRIBUTE_MAX_BYTES, 7)) == 64


def test_the_inbox_tells_flows_sources_and_ids_apart() -> None:
    keys = {key_of(event(), flow="a"), key_of(event(), flow="b"), key_of(event(source="b"), flow="a")}
    assert keys == {("a", "shop", "order-1"), ("b", "shop", "order-1"), ("a", "b", "order-1")}


def test_a_source_that_no_index_has_room_for_is_a_hash_in_the_inbox() -> None:
    long = "ü" * (SOURCE_MAX_BYTES // 2)
    assert key_of(event(source=long), flow="a")[1] == long
    first, second = (key_of(event(source=f"{long}{end}"), flow="a")[1] for end in "ab")
    assert first != second
    assert len(first) == len(second) == len("sha256:") + 64
