"""The attributes of an event, from the headers of its request and from the body of its sender."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import product
from urllib.parse import quote

import pytest
from multidict import CIMultiDict

from eventflow.errors import InvalidEventError
from eventflow.event import DEFAULT_TYPE, Event, utc_now
from eventflow.senders.table import SENDERS
from eventflow_collector.intake import attributes
from eventflow_collector.intake.attributes import IDEMPOTENCY_KEY
from eventflow_collector.senders.identity import Identity
from tests.support.requests import request_of

PLAIN = Identity(SENDERS.values())
STRIPE = Identity(SENDERS.values(), verified=SENDERS["stripe"])
ID_HEADERS = ("ce-id", "webhook-id", "X-Shopify-Webhook-Id", "X-GitHub-Delivery")

TEXTS = ("ce-source", "ce-subject", "ce-dataschema")
DECLARED = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


def event_of(headers: Mapping[str, str], body: bytes = b"", *, identity: Identity = PLAIN) -> Event:
    return attributes.event_of(identity, request_of(CIMultiDict(headers), body), flow="f", now=utc_now())


def event_with(body: bytes = b"x", **headers: str) -> Event:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return event_of(renamed, body)


def test_the_first_id_that_is_there_counts() -> None:
    names = [*ID_HEADERS, IDEMPOTENCY_KEY]
    headers = CIMultiDict({name: f"from-{name}" for name in names})
    for name in names:
        assert event_of(headers).id == f"from-{name}"
        del headers[name]
    assert event_of(headers).id.count("-") == 4


def test_the_senders_time_is_kept_and_its_absence_means_now() -> None:
    assert event_with(ce_time="2025-07-13T23:34:44+02:00").time == datetime(2025, 7, 13, 21, 34, 44, tzinfo=UTC)
    event = event_with()
    assert event.time == event.accepted_at


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-07-13", "20250713T000000Z"]
)
def test_a_time_that_no_clock_shows_is_refused_in_a_cloudevent_and_else_passed_over(time: str) -> None:
    with pytest.raises(InvalidEventError, match="ce-time"):
        event_of({**DECLARED, "ce-time": time})
    event = event_with(ce_time=time)
    assert event.time == event.accepted_at


def test_githubs_words_become_attributes() -> None:
    headers = {
        "X_GitHub_Delivery": "72d3162e",
        "X_GitHub_Event": "issues",
        "X_GitHub_Hook_Installation_Target_Type": "repository",
        "X_GitHub_Hook_Installation_Target_ID": "79929171",
    }
    event = event_with(b'{ "action": "opened", "issue": {}}', **headers)
    assert (event.id, event.type, event.source) == ("72d3162e", "issues.opened", "repository/79929171")
    assert event_with(b'{"ref": "x", "action": "y"}', **headers).type == "issues"
    assert event_with(b'{"action": "\xff"}', **headers).type == "issues"


def test_every_real_github_body_with_an_action_shows_it_in_its_type(webhook_bodies: dict[str, bytes]) -> None:
    for name, body in webhook_bodies.items():
        event = event_with(body, X_GitHub_Event="e")
        action = json.loads(body).get("action") if body.strip() else None
        assert event.type == ("e" if action is None else f"e.{action}"), name


def test_shopifys_words_become_attributes() -> None:
    event = event_with(
        X_Shopify_Webhook_Id="b54557e4",
        X_Shopify_Topic="orders/create",
        X_Shopify_Shop_Domain="shop.myshopify.com",
        X_Shopify_Triggered_At="2023-03-29T18:00:27.877041743Z",
    )
    assert (event.id, event.type, event.source) == ("b54557e4", "orders/create", "shop.myshopify.com")
    assert event.time == datetime(2023, 3, 29, 18, 0, 27, 877041, tzinfo=UTC)


def test_a_standard_webhook_has_its_time_from_its_timestamp() -> None:
    assert event_with(webhook_timestamp="1614265330").time == datetime.fromtimestamp(1614265330, UTC)
    event = event_with(webhook_timestamp="soon")
    assert event.time == event.accepted_at


@pytest.mark.parametrize(
    ("given_value", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u20ac \U0001f600"),
        ('"quoted \\"old\\" style"', 'quoted "old" style'),
        ("100%", "100%"),
        ("%41", "A"),
    ],
)
def test_cloudevents_headers_are_decoded_as_their_binding_says(given_value: str, meant: str) -> None:
    event = event_with(ce_id=given_value, ce_subject=given_value)
    assert event.id == event.subject == meant


@pytest.mark.parametrize("value", ["%C0%A0", "%0A", "%00", '""', "%ff"])
def test_cloudevents_headers_that_decode_to_nothing_usable_are_refused(value: str) -> None:
    with pytest.raises(InvalidEventError, match="ce-id"):
        event_with(ce_id=value)


@pytest.mark.parametrize("left_out", ["ce-id", "ce-source", "ce-type"])
def test_a_binary_cloudevent_is_whole(left_out: str) -> None:
    headers = CIMultiDict({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"})
    assert event_of(headers).source == "/s"
    del headers[left_out]
    with pytest.raises(InvalidEventError, match=left_out):
        event_of(headers)
    with pytest.raises(InvalidEventError, match="specversion"):
        event_with(ce_specversion="0.3")


def test_a_declared_cloudevent_keeps_its_schema_and_extensions() -> None:
    """Reproduced on 0.2.0: `ce-dataschema` and the extension attributes of a binary CloudEvent were lost."""
    given = {
        "ce-dataschema": "https://example.com/schema%2F1",
        "ce-partitionkey": "a%20b",
        "CE-TraceParent": '"00-\\"x"',
        "ce-empty": "",
        "ce-my-tag": "no name of an attribute",
        "ce-data": "no name of an extension",
        "ce-datacontenttype": "text/plain",
        "cephalopod": "octopus",
    }
    event = event_of({**DECLARED, **given})
    assert event.dataschema == "https://example.com/schema/1"
    assert event.extensions == {"partitionkey": "a b", "traceparent": '00-"x'}
    assert event_of(DECLARED).extensions is None
    undeclared = event_of({"ce-type": "t", **given})
    assert (undeclared.dataschema, undeclared.extensions) == (event.dataschema, event.extensions)


def test_extensions_without_a_cloudevent_are_none() -> None:
    event = event_of({"ce-id": "1", "X-GitHub-Event": "e", "ce-partitionkey": "p"})
    assert event.extensions is None


@pytest.mark.parametrize(
    ("extensions", "named"),
    [
        ({"ce-tag": "x" * 4097}, "extension attribute tag is too long"),
        ({"ce-tag": "a%0Ab"}, "extension attribute tag .* control characters"),
        ({"ce-tag": "%FF"}, "the header ce-tag must be percent-encoded UTF-8"),
        ({f"ce-tag{number}": "x" for number in range(65)}, "at most 64 extension attributes"),
        ({f"ce-tag{number}": "x" * 3000 for number in range(3)}, "of 8192 bytes together"),
    ],
)
def test_extensions_that_cannot_travel_are_refused_if_they_are_declared(extensions: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidEventError, match=named):
        event_of({**DECLARED, **extensions})
    assert len(event_of({"ce-type": "t", **extensions}).extensions or ()) < len(extensions)


@pytest.mark.parametrize("value", ["x" * 314, "x" * 4096, "Bild 9.41\u202fPM.png", "\u00a0x"])
@pytest.mark.parametrize("header", TEXTS)
def test_a_long_text_and_any_space_travel(header: str, value: str) -> None:
    """Reproduced on 0.2.0: the subject of a blob in Azure was refused, and Azure then drops the event."""
    event = event_of({**DECLARED, header: quote(value)})
    assert getattr(event, header.removeprefix("ce-")) == value


ODD = ["x" * 256, "ü" * 128, "a\tb", "\udcff", "\x00"]
ODD_TEXTS = ["x" * 4097, "ü" * 2049, "a\tb", "\udcff", "\x00"]
IDENTITIES = (*ID_HEADERS, IDEMPOTENCY_KEY)
OTHERS = (
    "ce-type",
    "ce-time",
    "Content-Type",
    "traceparent",
    "webhook-timestamp",
    "X-GitHub-Event",
    "X-Shopify-Topic",
    "X-Shopify-Triggered-At",
)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("header", IDENTITIES)
def test_an_id_that_cannot_travel_is_refused_by_name_and_not_replaced(header: str, value: str) -> None:
    """Another id in its place would make a repeated request another event."""
    with pytest.raises(InvalidEventError, match=header):
        event_of({header: value})


@pytest.mark.parametrize(
    ("header", "value"),
    [*product(OTHERS, ["", " ", *ODD]), *product((*TEXTS, "X-Shopify-Shop-Domain"), ["", " ", *ODD_TEXTS])],
)
def test_an_optional_header_counts_as_absent_when_it_is_empty_or_odd(header: str, value: str) -> None:
    """Reproduced on 0.1.0: an empty or long `Content-Type` refused an event for good."""
    event, plain = (event_of(given) for given in ({header: value}, {}))
    same = ("source", "type", "content_type", "subject", "traceparent", "dataschema", "extensions")
    assert [getattr(event, name) for name in same] == [getattr(plain, name) for name in same]
    assert event.time == event.accepted_at


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("header", [*IDENTITIES, "ce-specversion"])
def test_an_empty_id_counts_as_absent(header: str, value: str) -> None:
    """Reproduced on 0.1.0: an empty `Idempotency-Key` refused an event for good."""
    assert len(event_of({header: value}).id) == 36
    other = "webhook-id" if header != "webhook-id" else "X-GitHub-Delivery"
    in_body = b'{"id": "in-body", "type": "t"}'
    for identity in (PLAIN, STRIPE):
        assert event_of({header: value, other: "o"}, in_body, identity=identity).id == "o"
    assert event_of({header: value}, in_body, identity=STRIPE).id == "in-body"


@pytest.mark.parametrize(
    ("header", "value"), [*product(["ce-id", "ce-type"], ["", *ODD]), *product(["ce-source"], ["", *ODD_TEXTS])]
)
def test_what_a_declared_cloudevent_must_have_is_refused_by_name(header: str, value: str) -> None:
    with pytest.raises(InvalidEventError, match=header):
        event_of({**DECLARED, header: value})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("multipart/form-data; boundary=" + "x" * 300, "multipart/form-data"),
        ("text/plain; name=\udcff", "text/plain"),
        (";" + "x" * 300, None),
    ],
)
def test_of_a_content_type_that_cannot_travel_the_media_type_does(value: str, kept: str | None) -> None:
    assert event_with(Content_Type=value).content_type == kept


def test_what_known_senders_say_at_too_great_length_is_kept_within_bounds() -> None:
    kind, number = "X-GitHub-Hook-Installation-Target-Type", "X-GitHub-Hook-Installation-Target-ID"
    headers = CIMultiDict({"X-GitHub-Event": "x" * 255, kind: "y" * 4090, number: "1234567"})
    event = event_of(headers, b'{"action":"opened"}')
    assert event.type == "x" * 255
    assert event.source == "/events/f"
    assert event_of({}, b'{"type": "%b"}' % (b"z" * 256), identity=STRIPE).type == DEFAULT_TYPE


def test_stripes_body_holds_id_type_and_time() -> None:
    body = b'{"id": "evt_1", "type": "charge.refunded", "created": 1614265330}'
    event = event_of({"Idempotency-Key": "k"}, body, identity=STRIPE)
    assert (event.id, event.type, event.time) == ("evt_1", "charge.refunded", datetime.fromtimestamp(1614265330, UTC))
    assert event_of({"X-GitHub-Event": "e"}, body, identity=STRIPE).type == "e"
    assert event_of({"Idempotency-Key": "k"}, body).id == "k"
    with pytest.raises(InvalidEventError, match="the id in the request"):
        event_of({}, b'{"id": "%b"}' % (b"z" * 256), identity=STRIPE)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"id": true, "created": "soon"}', b'{"id": ""}'])
def test_a_body_without_its_senders_attributes_is_an_event_all_the_same(body: bytes) -> None:
    event = event_of({}, body, identity=STRIPE)
    assert len(event.id) == 36
    assert (event.type, event.time) == (DEFAULT_TYPE, event.accepted_at)


def test_a_broken_trace_context_is_ignored() -> None:
    assert event_with(traceparent="nonsense").traceparent is None
