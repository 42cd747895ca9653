"""The collector's pure parts: what makes an event of a request, and the bytes that are held."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from eventflow.errors import InvalidEventError
from eventflow.event import DEFAULT_TYPE, Event
from eventflow_collector.attributes import ID_HEADERS, IDEMPOTENCY_KEY, NOTHING, Stated, event_of, moment_of
from eventflow_collector.budget import ByteBudget, Reservation
from eventflow_collector.intake import is_known_key

DECLARED = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


def event_with(body: bytes = b"x", **headers: str) -> Event:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return event_of(flow="f", headers=CIMultiDict(renamed), body=body)


def test_the_first_id_that_is_there_counts() -> None:
    names = [*ID_HEADERS, IDEMPOTENCY_KEY]
    headers = CIMultiDict({name: f"from-{name}" for name in names})
    for name in names:
        assert event_of(flow="f", headers=headers, body=b"").id == f"from-{name}"
        del headers[name]
    assert event_of(flow="f", headers=headers, body=b"").id.count("-") == 4


def test_the_senders_time_is_kept_and_its_absence_means_now() -> None:
    assert event_with(ce_time="2025-07-13T23:34:44+02:00").time == datetime(2025, 7, 13, 21, 34, 44, tzinfo=UTC)
    event = event_with()
    assert event.time == event.accepted_at


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-07-13", "20250713T000000Z"]
)
def test_a_time_that_no_clock_shows_is_refused_in_a_cloudevent_and_else_passed_over(time: str) -> None:
    with pytest.raises(InvalidEventError, match="ce-time"):
        event_of(flow="f", headers=CIMultiDict({**DECLARED, "ce-time": time}), body=b"")
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


@pytest.mark.parametrize("seconds", [None, True, 1.5, -1, "", "1e3", "9" * 30, {}, 10**30])
def test_what_is_no_time_in_seconds_is_none(seconds: object) -> None:
    assert moment_of(seconds) is None


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
    assert event_of(flow="f", headers=headers, body=b"").source == "/s"
    del headers[left_out]
    with pytest.raises(InvalidEventError, match=left_out):
        event_of(flow="f", headers=headers, body=b"")
    with pytest.raises(InvalidEventError, match="specversion"):
        event_with(ce_specversion="0.3")


ODD = ["x" * 256, "ü" * 128, "a\tb", "\udcff", "\x00"]
IDENTITIES = (*ID_HEADERS, IDEMPOTENCY_KEY)
OTHERS = (
    "ce-type",
    "ce-source",
    "ce-subject",
    "ce-time",
    "Content-Type",
    "traceparent",
    "webhook-timestamp",
    "X-GitHub-Event",
    "X-Shopify-Shop-Domain",
    "X-Shopify-Topic",
    "X-Shopify-Triggered-At",
)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("header", IDENTITIES)
def test_an_id_that_cannot_travel_is_refused_by_name_and_not_replaced(header: str, value: str) -> None:
    """Another id in its place would make a repeated request another event."""
    with pytest.raises(InvalidEventError, match=header):
        event_of(flow="f", headers=CIMultiDict({header: value}), body=b"")


@pytest.mark.parametrize("value", ["", " ", *ODD])
@pytest.mark.parametrize("header", OTHERS)
def test_an_optional_header_counts_as_absent_when_it_is_empty_or_odd(header: str, value: str) -> None:
    """Reproduced on 0.1.0: an empty or long `Content-Type` refused an event for good."""
    event, plain = (event_of(flow="f", headers=CIMultiDict(given), body=b"") for given in ({header: value}, {}))
    same = ("source", "type", "content_type", "subject", "traceparent")
    assert [getattr(event, name) for name in same] == [getattr(plain, name) for name in same]
    assert event.time == event.accepted_at


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("header", [*IDENTITIES, "ce-specversion"])
def test_an_empty_id_counts_as_absent(header: str, value: str) -> None:
    """Reproduced on 0.1.0: an empty `Idempotency-Key` refused an event for good."""
    assert len(event_of(flow="f", headers=CIMultiDict({header: value}), body=b"").id) == 36
    other = "webhook-id" if header != "webhook-id" else "X-GitHub-Delivery"
    for stated in (NOTHING, Stated(id="stated")):
        assert event_of(flow="f", headers=CIMultiDict({header: value, other: "o"}), body=b"", stated=stated).id == "o"
    assert event_of(flow="f", headers=CIMultiDict({header: value}), body=b"", stated=Stated(id="stated")).id == "stated"


@pytest.mark.parametrize("value", ["", *ODD])
@pytest.mark.parametrize("header", ["ce-id", "ce-source", "ce-type"])
def test_what_a_declared_cloudevent_must_have_is_refused_by_name(header: str, value: str) -> None:
    with pytest.raises(InvalidEventError, match=header):
        event_of(flow="f", headers=CIMultiDict({**DECLARED, header: value}), body=b"")


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
    headers = CIMultiDict({"X-GitHub-Event": "x" * 255, kind: "y" * 250, number: "1234567"})
    event = event_of(flow="f", headers=headers, body=b'{"action":"opened"}', stated=Stated(type="z" * 256))
    assert event.type == "x" * 255
    assert event.source == "/events/f"
    assert event_of(flow="f", headers=CIMultiDict(), body=b"", stated=Stated(type="z" * 256)).type == DEFAULT_TYPE


def test_a_broken_trace_context_is_ignored() -> None:
    assert event_with(traceparent="nonsense").traceparent is None


def test_keys_match_exactly() -> None:
    keys = (b"one", b"two")
    assert is_known_key("one", keys)
    assert is_known_key("two", keys)
    for given_key in (None, "", "on", "one ", "ONE", "\udcff"):
        assert not is_known_key(given_key, keys)


@given(st.lists(st.integers(1, 50)))
def test_a_budget_is_never_exceeded_and_always_given_back(sizes: list[int]) -> None:
    budget = ByteBudget(100)
    held = []
    for size in sizes:
        fits = budget.held_bytes + size <= 100
        reservation = Reservation(budget)
        assert reservation.grow(size) is fits
        held.append((reservation, size if fits else 0))
        assert budget.held_bytes <= 100
    for reservation, size in held:
        release = reservation.hand_over(size // 2)
        reservation.release()
        release()
    assert budget.held_bytes == 0


def test_events_that_take_more_than_the_budget_are_taken_while_nothing_else_is() -> None:
    budget = ByteBudget(100)
    alone, other = Reservation(budget), Reservation(budget)
    assert alone.grow(60)
    assert not alone.grow(60)
    assert alone.grow_for_events(4096)
    assert not other.grow(1)
    assert not other.grow_for_events(1)
    alone.release()
    assert other.grow(40)
    assert alone.grow(10)
    assert not alone.grow_for_events(51)
    other.release()
    assert alone.grow_for_events(4096)
    alone.release()
    assert budget.held_bytes == 0
