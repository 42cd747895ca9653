"""Lines of exported dead letters become the same events again."""

import base64
import json
from dataclasses import fields
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.amqp.browser import Browsed
from eventflow.errors import EventFlowError
from eventflow.event import Event, format_time, parse_time
from eventflow.forwarded import forwarded
from eventflow.message import Envelope, restarted
from eventflow.operations.dead.export_file import ExportFile
from eventflow.operations.dead.exports import envelope_of, exported
from tests.support.attributes import attributes, extensions, parts, texts
from tests.support.cli import FIRST_FAILED_AT, dead_letter

RECORD = exported(Browsed(envelope=dead_letter("a"), headers={}, redelivered=False, tag=1), "default")


def line(**changes: Any) -> bytes:
    record = {name: value for name, value in {**RECORD, **changes}.items() if value is not ...}
    return json.dumps(record).encode()


@given(
    required=st.fixed_dictionaries({"id": attributes(), "source": texts(), "type": attributes()}),
    optional=st.fixed_dictionaries(
        {
            **{name: st.none() | attributes() for name in ("content_type", "traceparent")},
            **{name: st.none() | texts() for name in ("subject", "dataschema")},
            "extensions": extensions(),
            "forwarded": st.none() | parts().map(forwarded),
        }
    ),
    encoding=st.none() | attributes(),
    body=st.binary() | st.text().map(str.encode),
    moments=st.tuples(*[st.datetimes(timezones=st.just(FIRST_FAILED_AT.tzinfo))] * 2),
)
def test_every_event_is_the_same_after_an_export(
    required: Any, optional: Any, encoding: str | None, body: bytes, moments: Any
) -> None:
    time, accepted_at = (parse_time(format_time(moment)) for moment in moments)
    assert time is not None
    assert accepted_at is not None
    event = Event(**required, **optional, body=body, time=time, accepted_at=accepted_at)
    carried = {field.name for field in fields(Event)} - {"has_new_id"}  # a message does not carry that
    assert carried == {*required, *optional, "body", "time", "accepted_at"}
    letter = Envelope(event=event, attempt=12, failure=dead_letter("a").failure, content_encoding=encoding)
    written = json.dumps(exported(Browsed(envelope=letter, headers={}, redelivered=False, tag=1), "default"))
    assert envelope_of(written.encode(), "default") == restarted(letter)


def test_an_edited_line_may_leave_out_all_that_is_not_needed() -> None:
    event = envelope_of(b'{"id": "a", "source": "s", "type": "t", "body": "b", "mine": 1}', "default").event
    assert (event.id, event.body, event.content_type) == ("a", b"b", None)
    assert event.time == event.accepted_at


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[]", "a JSON object is expected"),
        (line(id=...), "id is missing"),
        (line(id=""), "id is not a text of 1 to 255 bytes"),
        (line(id=7), "id is not a text"),
        (line(type=...), "type is missing"),
        (line(subject="a\x1b"), "subject is not a text"),
        (line(subject="x" * 5000), "subject is not a text of 1 to 4096 bytes"),
        (line(extensions={"Tag": "a"}), "extensions is not an object"),
        (line(extensions=["tag"]), "extensions is not an object"),
        (line(forwarded="X-A"), "forwarded is not an object"),
        (line(forwarded={"headers": {"X-A": "1"}}), "forwarded is not an object"),
        (line(forwarded={"headers": {"Host": "h"}, "query": "", "left_out": 0}), "forwarded is not an object"),
        (line(forwarded={"headers": {"X-A": "a\r\nb"}, "query": "", "left_out": 0}), "forwarded is not an object"),
        (line(forwarded={"headers": {}, "query": "a b", "left_out": 0}), "forwarded is not an object"),
        (line(time="yesterday"), "time is not a time such as"),
        (line(accepted_at=1752443484), "accepted_at is not a time such as"),
        (line(body=...), "body is missing"),
        (line(body={"n": 1}), "tojson in jq"),
        (line(body=None), "the body is not a text"),
        (line(body="\ud800"), "a character that UTF-8 cannot encode"),
        (line(body=..., body_base64="a"), "body_base64 is not base64"),
        (line(body_base64=base64.b64encode(b"x").decode()), "both set"),
        (line(flow="orders"), "it is of the flow 'orders'"),
    ],
)
def test_a_wrong_line_has_a_reason(wrong: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        envelope_of(wrong, "default")


def test_a_file_is_checked_as_a_whole_and_names_the_wrong_line() -> None:
    with pytest.raises(EventFlowError, match=r"^dead[.]ndjson, line 3: id is missing. Nothing was sent[.]$"):
        ExportFile(BytesIO(b"\n".join([line(), b"", line(id=...)])), "dead.ndjson", "default")


def test_each_line_is_taken_once_and_the_rest_in_the_order_of_the_file() -> None:
    content = b"\n".join([line(id="b"), line(id="a", body="1"), b" ", line(id="a", body="2"), line(id="c")])
    file = ExportFile(BytesIO(content), "dead.ndjson", "default")
    assert (file.lines, file.ids) == (4, {"a", "b", "c"})
    first = file.take("a")
    assert first is not None
    assert first.event.body == b"1"
    assert file.take("d") is None
    assert [(each.event.id, each.event.body) for each in file.take_rest()] == [
        ("b", b'{"n": 1}'),
        ("a", b"2"),
        ("c", b'{"n": 1}'),
    ]
    assert file.take("b") is None
