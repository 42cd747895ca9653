"""The request of an attempt: raw, or a CloudEvent that the official SDK reads, signed as by the reference library."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from eventflow.event import Event
from eventflow.forwarded import Forwarded, Parts, forwarded
from eventflow.message import Envelope
from eventflow.settings.target import TargetSettings
from eventflow_processor.target.request import Bearer, RequestForm, TargetRequest, header_value, request_form
from tests.support.attributes import PRINTABLE, attributes, extensions, texts

NOW = datetime(2025, 7, 13, 12, 0, 0, 500_000, tzinfo=UTC)
SECRETS = ("whsec_" + base64.b64encode(b"current" * 4).decode(), "whsec_" + base64.b64encode(b"next" * 6).decode())
RAW = RequestForm()
STRUCTURED = request_form(TargetSettings(format="cloudevents"))

ATTRIBUTES = attributes(max_size=40)


def envelope(body: bytes, content_type: str | None = "application/json", **changes: Any) -> Envelope:
    event = Event(id="a b.1", source="/s", type="t", time=NOW, accepted_at=NOW, body=body, content_type=content_type)
    return Envelope(event=replace(event, **changes), attempt=3)


def read_by_the_sdk(request: TargetRequest) -> Any:
    return from_http_event(HTTPMessage(headers=dict(request.headers), body=request.body))


def test_raw_is_the_body_byte_for_byte_with_cloudevents_headers() -> None:
    request = RAW.request_for(envelope(b' {"a": 1.10}', subject="x y"), now=NOW)
    assert request.body == b' {"a": 1.10}'
    assert request.headers == {
        "ce-specversion": "1.0",
        "ce-id": "a%20b.1",
        "ce-source": "/s",
        "ce-type": "t",
        "ce-time": "2025-07-13T12:00:00.500Z",
        "ce-subject": "x%20y",
        "Content-Type": "application/json",
        "Idempotency-Key": "a%20b.1",
        "eventflow-attempt": "3",
    }


@given(
    event_id=ATTRIBUTES,
    source=texts(),
    kind=ATTRIBUTES,
    subject=texts(),
    tags=extensions(),
    body=st.binary(max_size=50),
)
@pytest.mark.parametrize("form", [RAW, STRUCTURED])
def test_the_official_sdk_reads_what_the_target_gets(
    form: RequestForm,
    event_id: str,
    source: str,
    kind: str,
    subject: str,
    tags: Mapping[str, str] | None,
    body: bytes,
) -> None:
    attributes = {"id": event_id, "source": source, "type": kind, "subject": subject, "extensions": tags}
    sent = envelope(body, "application/octet-stream", **attributes, dataschema="https://example.com/s")
    event = read_by_the_sdk(form.request_for(sent, now=NOW))
    assert (event.get_id(), event.get_source(), event.get_type()) == (event_id, source, kind)
    assert (event.get_subject(), event.get_dataschema()) == (subject, "https://example.com/s")
    assert {name: event.get_extension(name) for name in tags or {}} == (tags or {})
    assert event.get_time() == NOW
    said = event.get_data() or b""
    assert (said.encode() if isinstance(said, str) else said) == body


@pytest.mark.parametrize("content_type", ["application/json", "text/json; charset=utf-8", "Application/Vnd.X+JSON"])
def test_json_stands_in_the_cloudevent_as_it_was_written(content_type: str) -> None:
    body = b'{ "b": 1.10, "a": 12345678901234567890.0 }'
    request = STRUCTURED.request_for(envelope(body, content_type), now=NOW)
    assert body in request.body
    assert json.loads(request.body)["data"] == json.loads(body)
    assert json.loads(request.body)["datacontenttype"] == content_type
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    assert not any(name.startswith("ce-") for name in request.headers)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"NaN", "application/json"),
        (b'"\xff"', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"{}", "text/plain"),
        (b"{}", None),
        (b"\x00\xff", "application/octet-stream"),
    ],
)
def test_anything_else_is_base64_in_the_cloudevent(body: bytes, content_type: str | None) -> None:
    document = json.loads(STRUCTURED.request_for(envelope(body, content_type), now=NOW).body)
    assert base64.b64decode(document["data_base64"]) == body
    assert "data" not in document
    assert document.get("datacontenttype") == content_type


def test_a_cloudevent_is_not_put_into_another() -> None:
    request = STRUCTURED.request_for(envelope(b"as it came", "application/cloudevents+json; charset=utf-8"), now=NOW)
    assert request.body == b"as it came"


def test_an_encoded_body_stays_what_its_header_says() -> None:
    request = STRUCTURED.request_for(replace(envelope(b"\x1f"), content_encoding="gzip"), now=NOW)
    assert (request.body, request.headers["Content-Encoding"]) == (b"\x1f", "gzip")


@pytest.mark.parametrize("kind", ["raw", "cloudevents"])
def test_the_reference_library_verifies_what_is_sent_with_each_secret(kind: str) -> None:
    form = request_form(TargetSettings.model_validate({"format": kind, "signing_secrets": SECRETS}))
    now = datetime.now(UTC)
    request = form.request_for(envelope(b'{"a": 1}'), now=now)
    for secret in SECRETS:
        Webhook(secret).verify(request.body, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(request.body + b" ", dict(request.headers), json_parse=False)
    assert "." not in request.headers["webhook-id"], "a sender could move the end of the id"


FORWARDED = forwarded(
    Parts(headers={"X-Tenant": "t-1", "Authorization": "theirs", "webhook-id": "theirs"}, query="a=%20b&c")
)


@pytest.mark.parametrize("kind", ["raw", "cloudevents"])
def test_forwarded_parts_are_added_and_replace_nothing(kind: str) -> None:
    settings = {
        "url": "http://t/in?key=k",
        "format": kind,
        "headers": {"authorization": "ours"},
        "signing_secrets": SECRETS,
    }
    form = request_form(TargetSettings.model_validate(settings))
    plain = form.request_for(envelope(b"{}"), now=NOW)
    request = form.request_for(envelope(b"{}", forwarded=FORWARDED), now=NOW)
    assert request.headers == {**plain.headers, "X-Tenant": "t-1"}
    assert (plain.path, request.path) == (None, "/in?key=k&a=%20b&c")
    unsigned = request_form(TargetSettings(url="http://t/in")).request_for(
        envelope(b"{}", forwarded=FORWARDED), now=NOW
    )
    assert unsigned.headers["webhook-id"] == "theirs"
    assert unsigned.path == "/in?a=%20b&c"


def test_an_extension_replaces_no_header_of_the_settings() -> None:
    form = request_form(TargetSettings.model_validate({"url": "http://t/", "headers": {"CE-Tenant": "ours"}}))
    request = form.request_for(envelope(b"", extensions={"tenant": "theirs", "region": "eu"}), now=NOW)
    assert request.chosen == {"ce-region": "eu"}


def test_forwarded_parts_join_a_path_and_headers_with_attributes_and_replace_no_access_token() -> None:
    settings = TargetSettings.model_validate(
        {"url": "http://t/orders/{subject}?type={type}", "headers": {"X-Tenant": "{subject}"}}
    )
    form = request_form(settings, bearer=Bearer("token"))
    request = form.request_for(envelope(b"", subject="a/b", forwarded=FORWARDED), now=NOW)
    assert request.path == "/orders/a%2Fb?type=t&a=%20b&c"
    assert request.headers["X-Tenant"] == "a/b"
    assert request.headers["Authorization"] == "Bearer token"
    assert request.headers["webhook-id"] == "theirs"
    without = form.request_for(envelope(b"", subject="s"), now=NOW)
    assert (without.path, without.chosen) == ("/orders/s?type=t", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"headers":["X-A"],"query":7}',
        '{"headers":{"Host":"h","Content-Length":"0","ce-id":"x","X-A":"a\\r\\nb","a b":"c","X-B":1}}',
        '{"query":"a b"}',
        '{"query":"a#b"}',
        '{"query":"a\\r\\nHost: x"}',
    ],
)
def test_parts_that_another_program_has_written_cannot_change_a_request(text: str) -> None:
    request = RAW.request_for(envelope(b"", forwarded=Forwarded(text)), now=NOW)
    assert request.headers == RAW.request_for(envelope(b""), now=NOW).headers
    assert request.path is None


def test_a_long_source_is_no_shared_header() -> None:
    """The shared headers are kept, and senders choose sources."""
    request = RAW.request_for(envelope(b"", source="/" + "x" * 300), now=NOW)
    assert request.own["ce-source"] == "/" + "x" * 300
    assert "ce-source" not in request.shared.headers


def test_nothing_is_signed_without_a_secret() -> None:
    assert not any(name.startswith("webhook-") for name in RAW.request_for(envelope(b""), now=NOW).headers)


@given(st.text(PRINTABLE, min_size=1, max_size=50))
def test_any_id_travels_in_a_header_and_comes_out_again(event_id: str) -> None:
    value = header_value(event_id)
    assert value.isascii()
    assert " " not in value
    assert unquote(value) == event_id
