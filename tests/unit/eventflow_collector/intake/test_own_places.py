"""Places of attributes that the settings of a flow name: they come before all others."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from eventflow.errors import InvalidEventError, SettingsError
from eventflow.event import DEFAULT_TYPE, Event
from eventflow.settings.load import load
from eventflow.settings.root import Settings
from eventflow_collector.intake.events import read_events
from eventflow_collector.intake.flow import flow_of
from eventflow_collector.intake.mode import mode_of
from tests.support.requests import request_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def events_of(
    settings: Mapping[str, str], headers: Mapping[str, str], body: object, *, batch: str | None = None
) -> Sequence[Event]:
    source = {"allow_unauthenticated": "true", **settings}
    flow = flow_of("default", Settings.model_validate({"source": source}))
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_events(mode_of(headers, batch=batch), flow, request_of(headers, encoded), now=NOW)


def test_each_attribute_can_be_in_a_header_in_json_or_in_a_form() -> None:
    wanted = ("7", "order.paid", "shop-1", "order/7", datetime(2025, 7, 13, 12, 0, tzinfo=UTC))
    names = ("id", "type", "source", "subject", "time")
    values = ("7", "order.paid", "shop-1", "order/7", "1752408000")
    ways = {
        "header": ({f"X-{name}": value for name, value in zip(names, values, strict=True)}, b""),
        "pointer": (JSON, {"at": [dict(zip(names, values, strict=True))]}),
        "form": (FORM, b"id=7&type=order.paid&source=shop-1&subject=order%2F7&time=1752408000"),
    }
    for way, (headers, body) in ways.items():
        place = {"header": "X-{}", "pointer": "/at/0/{}", "form": "{}"}[way]
        settings = {f"{name}_{way}": place.format(name) for name in names} | {"time_format": "unix_s"}
        [event] = events_of(settings, headers, body)
        assert (event.id, event.type, event.source, event.subject, event.time) == wanted, way


def test_they_come_before_all_other_places_and_a_header_before_json() -> None:
    settings = {"id_header": "X-Mine", "id_pointer": "/id", "type_pointer": "/kind"}
    others = {"ce-id": "c", "Idempotency-Key": "k", "X-GitHub-Delivery": "g", "ce-type": "t", "X-GitHub-Event": "e"}
    body = {"id": "p", "kind": "own"}
    assert events_of(settings, {**others, "X-Mine": "m"}, body)[0].id == "m"
    assert events_of(settings, others, body)[0].id == "p"
    assert events_of(settings, others, {})[0].id == "c"
    assert events_of(settings, others, body)[0].type == "own"
    assert events_of(settings, others, {})[0].type == "t"


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_value_counts_as_absent(value: str) -> None:
    settings = {"id_header": "X-Mine", "type_header": "X-Type"}
    [event] = events_of(settings, {"X-Mine": value, "X-Type": "", "Idempotency-Key": "k"}, b"")
    assert (event.id, event.type) == ("k", DEFAULT_TYPE)


@pytest.mark.parametrize("value", ["x" * 256, "a\tb", "\udcff"])
def test_an_id_that_cannot_travel_is_refused(value: str) -> None:
    with pytest.raises(InvalidEventError, match="the header X-Mine"):
        events_of({"id_header": "X-Mine"}, {"X-Mine": value}, b"")


@pytest.mark.parametrize("value", ["a\tb", None, [], 1.5, {"a": 1}])
def test_another_attribute_that_cannot_travel_counts_as_absent(value: object) -> None:
    [event] = events_of({"subject_pointer": "/s", "time_pointer": "/s"}, JSON, {"s": value})
    assert (event.subject, event.time) == (None, NOW)


BATCH = [{"id": 1, "kind": "a"}, {"id": 2, "kind": "b"}]


@pytest.mark.parametrize(
    ("headers", "body", "batch"),
    [
        (JSON, json.dumps(BATCH).encode(), "1"),
        (NDJSON, b"\n".join(json.dumps(one).encode() for one in BATCH), None),
    ],
)
def test_pointers_search_each_element_of_a_batch(headers: dict[str, str], body: bytes, batch: str | None) -> None:
    pointers = {"id_pointer": "/id", "type_pointer": "/kind"}
    events = events_of(pointers, {**headers, "Idempotency-Key": "k", "ce-id": "c"}, body, batch=batch)
    assert [(event.id, event.type) for event in events] == [("1", "a"), ("2", "b")]
    events = events_of({"type_pointer": "/kind"}, {**headers, "Idempotency-Key": "k"}, body, batch=batch)
    assert [(event.id, event.type) for event in events] == [("k-0", "a"), ("k-1", "b")]
    events = events_of({"id_header": "X-Mine"}, {**headers, "X-Mine": "m", "Idempotency-Key": "k"}, body, batch=batch)
    assert [event.id for event in events] == ["m-0", "m-1"]
    both = {"id_header": "X-Mine", "id_pointer": "/id"}
    events = events_of(both, {**headers, "X-Mine": "m"}, body, batch=batch)
    assert [event.id for event in events] == ["1", "2"]
    events = events_of({"id_pointer": "/no"}, {**headers, "Idempotency-Key": "k"}, body, batch=batch)
    assert [event.id for event in events] == ["k-0", "k-1"]


def test_pointers_of_the_flows_sender_search_each_element_too() -> None:
    stripe = {"verify": "stripe", "secrets": "whsec_of_the_tests"}
    body = json.dumps([{"id": "evt_1", "type": "a"}, {"id": "evt_2", "type": "b"}]).encode()
    events = events_of(stripe, JSON, body, batch="1")
    assert [(event.id, event.type) for event in events] == [("evt_1", "a"), ("evt_2", "b")]
    assert [event.id for event in events_of(stripe, {**JSON, "Idempotency-Key": "k"}, body, batch="1")] == [
        "k-0",
        "k-1",
    ]


def test_an_element_with_an_id_that_cannot_travel_refuses_the_batch() -> None:
    with pytest.raises(InvalidEventError, match="event 1 of the batch"):
        events_of({"id_pointer": "/id"}, JSON, [{"id": "1"}, {"id": "x" * 256}], batch="1")


def test_a_cloudevent_in_json_keeps_its_own_attributes() -> None:
    cloudevent = {"specversion": "1.0", "id": "own", "source": "/s", "type": "t", "data": {"id": "7"}}
    headers = {"Content-Type": "application/cloudevents+json", "X-Mine": "m"}
    [event] = events_of({"id_header": "X-Mine", "id_pointer": "/data/id"}, headers, cloudevent)
    assert event.id == "own"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ID_POINTER", "id", "a JSON pointer is expected"),
        ("ID_POINTER", "/a~2", "a JSON pointer is expected"),
        ("TYPE_HEADER", "X Type", "the name of a header is expected"),
        ("TIME_FORMAT", "seconds", "rfc3339"),
    ],
)
def test_a_wrong_place_is_refused_at_the_start(name: str, value: str, words: str) -> None:
    environ = {f"EVENTFLOW_SOURCE__{name}": value}
    with pytest.raises(SettingsError, match=words) as raised:
        load(environ=environ)
    assert f"EVENTFLOW_SOURCE__{name}" in str(raised.value)
