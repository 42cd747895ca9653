"""Requests that say that they hold events: one CloudEvent or many, all of them or none."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from eventflow.errors import InvalidEventError
from eventflow.event import Event, is_valid_attribute, is_valid_text, utc_now
from eventflow.message import Envelope, encode
from eventflow.settings.root import Settings
from eventflow.settings.source import SourceSettings
from eventflow_collector.intake.events import TooLargeError, read_events
from eventflow_collector.intake.flow import Flow, flow_of
from eventflow_collector.intake.mode import Mode, UnknownModeError, mode_of
from tests.support.requests import request_of
from tests.unit.eventflow_collector.intake.values import values

FLOW = flow_of(
    "default", Settings(source=SourceSettings(max_body_bytes=200, max_batch_events=5, max_batch_bytes=10_000))
)
LARGE = flow_of("default", Settings())
WHOLE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
CLOUDEVENT = "application/cloudevents+json"


def read(
    content_type: str,
    body: bytes,
    *,
    batch: str | None = None,
    flow: Flow = FLOW,
    query: str = "",
    **headers: str,
) -> list[Event]:
    given_headers = CIMultiDict({"Content-Type": content_type, **headers})
    mode = mode_of(given_headers, batch=batch)
    return list(read_events(mode, flow, request_of(given_headers, body, query=query), now=utc_now()))


@pytest.mark.parametrize(
    ("content_type", "batch", "mode"),
    [
        ("", None, Mode.OPAQUE),
        ("application/json", None, Mode.OPAQUE),
        ("text/html; charset=x", None, Mode.OPAQUE),
        ("application/json; charset=utf-8", "1", Mode.JSON_ARRAY),
        ("application/x-ndjson", None, Mode.NDJSON),
        ("Application/X-NDJSON ;a=b", "1", Mode.NDJSON),
        (f"{CLOUDEVENT}; charset=utf-8", None, Mode.STRUCTURED),
        ("application/cloudevents-batch+json", None, Mode.CLOUDEVENTS_BATCH),
    ],
)
def test_the_content_type_says_how_events_are_carried(content_type: str, batch: str | None, mode: Mode) -> None:
    assert mode_of({"Content-Type": content_type}, batch=batch) is mode


@pytest.mark.parametrize(
    ("content_type", "batch"),
    [("application/cloudevents+xml", None), ("text/plain", "1"), (CLOUDEVENT, "1"), ("", "1")],
)
def test_what_cannot_be_taken_apart_is_refused(content_type: str, batch: str | None) -> None:
    with pytest.raises(UnknownModeError):
        mode_of({"Content-Type": content_type}, batch=batch)
    with pytest.raises(InvalidEventError):
        mode_of({"Content-Type": "application/json"}, batch="yes")


def test_a_binary_cloudevent_whose_data_are_lines_is_one_event() -> None:
    assert mode_of({"Content-Type": "application/x-ndjson", "ce-specversion": "1.0"}, batch=None) is Mode.OPAQUE


def test_a_structured_cloudevent_says_its_attributes_and_keeps_its_bytes() -> None:
    body = b'{ "specversion":"1.0", "id":"\\u00fc", "source":"/s","type":"t","subject":"x","data":1.10 }\n'
    [event] = read(CLOUDEVENT, body, **{"ce-id": "other"})
    assert (event.id, event.source, event.type, event.subject) == ("ü", "/s", "t", "x")
    assert (event.body, event.content_type) == (body, CLOUDEVENT)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": 1}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"source": "a\nb"}, "source"),
        ({"type": ["t"]}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 4097}, "subject must be 1 to 4096 bytes"),
        ({"source": "x" * 4097}, "source"),
    ],
)
def test_a_broken_cloudevent_is_refused_by_the_name_of_what_is_broken(change: dict, named: str) -> None:
    with pytest.raises(InvalidEventError, match=named):
        read(CLOUDEVENT, json.dumps({**WHOLE, **change}).encode())


AZURE_SUBJECT = "/blobServices/default/containers/images/blobs/" + "n" * 268
"""Of 314 characters."""


def test_a_long_subject_is_taken_alone_and_in_a_batch() -> None:
    """Reproduced on 0.2.0: it was refused, and Azure then drops the event."""
    body = json.dumps({**WHOLE, "subject": AZURE_SUBJECT})
    assert len(AZURE_SUBJECT) == 314
    [alone] = read(CLOUDEVENT, body.encode(), flow=LARGE)
    [one] = read("application/cloudevents-batch+json", f"[{body}]".encode(), flow=LARGE)
    assert alone.subject == one.subject == AZURE_SUBJECT


def test_a_structured_cloudevent_shows_its_schema_and_its_extensions_as_text() -> None:
    extensions = {"tag": "a\u00a0b", "sampled": True, "off": False, "rank": -7, "serial": 1712345678901}
    document = {**WHOLE, "dataschema": "urn:s", "data": {}, "datacontenttype": "text/x", **extensions}
    [event] = read(CLOUDEVENT, json.dumps(document).encode(), flow=LARGE)
    assert event.dataschema == "urn:s"
    assert event.extensions == {
        "tag": "a\u00a0b",
        "sampled": "true",
        "off": "false",
        "rank": "-7",
        "serial": "1712345678901",
    }


@pytest.mark.parametrize(
    "members",
    [
        {"tag": None},
        {"tag": ""},
        {"tag": 0.5},
        {"tag": ["a"]},
        {"tag": {"a": 1}},
        {"tag": "a\nb"},
        {"tag": "x" * 4097},
        {"Tag": "a"},
        {"my_tag": "a"},
        {"data_base64": ""},
        {"dataschema": 7},
        {"dataschema": ""},
        {"dataschema": "x" * 4097},
    ],
)
def test_a_member_that_is_no_attribute_stays_in_the_body_and_costs_no_event(members: dict) -> None:
    body = json.dumps({**WHOLE, **members}).encode()
    [event] = read(CLOUDEVENT, body, flow=LARGE)
    assert (event.extensions, event.dataschema, event.body) == (None, None, body)


def test_a_request_forwards_the_same_parts_with_each_of_its_events() -> None:
    source = SourceSettings(forward_headers=("X-Tenant",), forward_query=True)
    flow = flow_of("default", Settings(source=source))
    document = json.dumps(WHOLE)
    for content_type, body, batch in (
        ("text/plain", "x", None),
        (CLOUDEVENT, document, None),
        ("application/cloudevents-batch+json", f"[{document},{document}]", None),
        ("application/x-ndjson", "1\n2", None),
        ("application/json", "[1,2]", "1"),
    ):
        query = "a=%20b" if batch is None else f"batch={batch}&a=%20b"
        events = read(content_type, body.encode(), batch=batch, flow=flow, query=query, **{"x-tenant": "t"})
        assert {event.forwarded and event.forwarded.text for event in events} == {
            '{"headers":{"x-tenant":"t"},"query":"a=%20b"}'
        }


def test_a_batch_of_cloudevents_is_told_apart_byte_for_byte() -> None:
    parts = [json.dumps({**WHOLE, "id": str(number)}).encode() + b" " * number for number in range(3)]
    events = read("application/cloudevents-batch+json", b" [ " + b" ,\n".join(parts) + b" ] ")
    assert [event.id for event in events] == ["0", "1", "2"]
    assert [event.body for event in events] == [part.strip() for part in parts]
    assert {event.content_type for event in events} == {CLOUDEVENT}


@pytest.mark.parametrize(
    ("content_type", "batch", "body"),
    [
        ("application/x-ndjson", None, b'{"a":1.0}\r\n\n ["\xc3\xbc"] \n"\\u00fc"'),
        ("application/json", "1", b'[{"a":1.0}, ["\xc3\xbc"],"\\u00fc"]\n'),
    ],
)
def test_a_batch_of_json_has_stable_ids_in_order(content_type: str, batch: str | None, body: bytes) -> None:
    for _ in range(2):
        events = read(content_type, body, batch=batch, **{"Idempotency-Key": "k", "ce-type": "t"})
        assert [event.id for event in events] == ["k-0", "k-1", "k-2"]
        assert [event.body for event in events] == [b'{"a":1.0}', b'["\xc3\xbc"]', b'"\\u00fc"']
        assert {(event.content_type, event.type) for event in events} == {("application/json", "t")}
    fresh = read(content_type, body, batch=batch)
    assert len({event.id for event in fresh}) == 3
    assert read(content_type, body, batch=batch, **{"webhook-id": "w", "Idempotency-Key": "k"})[0].id == "k-0"
    assert read(content_type, body, batch=batch, **{"webhook-id": "w"})[2].id == "w-2"


@pytest.mark.parametrize(
    ("content_type", "batch", "body"),
    [
        ("application/x-ndjson", None, b"\n"),
        ("application/json", "1", b" [ ] "),
        ("application/cloudevents-batch+json", None, b"[]"),
    ],
)
def test_an_empty_batch_is_a_batch(content_type: str, batch: str | None, body: bytes) -> None:
    assert read(content_type, body, batch=batch) == []


@pytest.mark.parametrize(
    ("content_type", "batch", "body", "named"),
    [
        ("application/x-ndjson", None, b"1\n{\n3", "event 1 "),
        ("application/x-ndjson", None, b"1\n2 2\n", "event 1 "),
        ("application/json", "1", b"[1, 2", "event 2 "),
        ("application/json", "1", b"[1, 2] 3", "malformed"),
        ("application/json", "1", b"[1 2]", "malformed"),
        ("application/json", "1", b"[1,]", "event 1 "),
        ("application/json", "1", b"{}", "array"),
        ("application/json", "1", b"", "array"),
        ("application/cloudevents-batch+json", None, json.dumps([WHOLE, {}]).encode(), "event 1 "),
        ("application/cloudevents-batch+json", None, b"[1]", "event 0 "),
    ],
)
def test_one_bad_event_refuses_the_batch(content_type: str, batch: str | None, body: bytes, named: str) -> None:
    with pytest.raises(InvalidEventError, match=named):
        read(content_type, body, batch=batch)


def test_a_batch_has_bounds() -> None:
    assert len(read("application/x-ndjson", b"1\n" * 5)) == 5
    with pytest.raises(TooLargeError, match="5 events"):
        read("application/x-ndjson", b"1\n" * 6)
    with pytest.raises(TooLargeError, match=r"event 1 .* 200 bytes"):
        read("application/json", b'[1,"' + b"x" * 200 + b'"]', batch="1")
    with pytest.raises(InvalidEventError, match="255 bytes"):
        read("application/x-ndjson", b"1", **{"Idempotency-Key": "x" * 254})


@given(
    content_type=st.sampled_from(
        ["application/json", "application/x-ndjson", CLOUDEVENT, "application/cloudevents-batch+json", "text/plain"]
    ),
    batch=st.sampled_from([None, "1", ""]),
    headers=st.dictionaries(
        st.sampled_from(["ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time", "X-GitHub-Event", "webhook-id"]),
        st.text(max_size=20) | st.sampled_from(["1.0", "%C0", '"', "\udcff"]),
    ),
    body=st.binary(max_size=200)
    | st.lists(
        values
        | st.fixed_dictionaries({name: st.just(value) for name, value in WHOLE.items()}, optional={"time": st.text()}),
        max_size=3,
    ).map(lambda value: json.dumps(value).encode())
    | values.map(lambda value: json.dumps({**WHOLE, "data": value}).encode()),
)
@example(content_type=CLOUDEVENT, batch=None, headers={}, body=b'{"specversion":"1.0","id":"\\ud800"}')
def test_whatever_comes_becomes_events_that_can_travel_or_a_refusal(
    content_type: str, batch: str | None, headers: dict[str, str], body: bytes
) -> None:
    try:
        events = read(content_type, body, batch=batch, **headers)
    except (InvalidEventError, TooLargeError, UnknownModeError):
        return
    for event in events:
        assert is_valid_attribute(event.id)
        assert is_valid_attribute(event.type)
        assert is_valid_text(event.source)
        encode(Envelope(event=event))
