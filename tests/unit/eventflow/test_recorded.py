"""Data of released versions keep their meaning. A person has taken the expected values from the records."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventflow.amqp.frames import properties_of
from eventflow.control.overrides import Overrides, decode_overrides
from eventflow.event import Event, utc_now
from eventflow.message import Envelope, Failure, decode
from tests.support.recorded import recorded_bodies, recorded_messages

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for the time of reading, which is used for a message without a time."""


def at(text: str) -> datetime:
    """Return a moment of the day on which 0.1.0 was recorded."""
    return datetime.fromisoformat(f"2026-11-28T09:59:{text}+00:00")


def copy(event_id: str, accepted_at: datetime, **stand: Any) -> Envelope:
    """Return a copy of a message that a foreign client had published with nothing but an id."""
    traceparent = stand.pop("traceparent", None)
    event = Event(
        id=event_id,
        source="amqp",
        type="eventflow.event",
        time=accepted_at,
        accepted_at=accepted_at,
        body=b'{"n": 7}',
        content_type="any/thing",
        traceparent=traceparent,
    )
    return Envelope(event=event, **stand)


def failed(at: datetime, reason: str = "server_error", status: int | None = 503, **more: Any) -> Failure:
    return Failure(reason=reason, status=status, first_at=at, last_at=at, **more)


def live(event_id: str, accepted_at: datetime, body: bytes, **more: Any) -> Envelope:
    """Return an event that was posted with nothing but its id and body."""
    event = Event(
        id=event_id,
        source="/events/recorded",
        type="eventflow.event",
        time=accepted_at,
        accepted_at=accepted_at,
        body=body,
    )
    return Envelope(event=replace(event, **more))


def strange(event_id: str, body: bytes, at: datetime = NOW, **more: Any) -> Envelope:
    event = Event(id=event_id, source="amqp", type="eventflow.event", time=at, accepted_at=at, body=body)
    return Envelope(event=replace(event, **more))


EXPECTED_OF_0_1_0 = {
    "live_bare": live("01a22198-31fe-719c-9dbe-98dc5a291ea6", at("12.126"), b"\x00any\xff"),
    "live_full": live(
        "füll-1",
        at("12.177"),
        b'{"n": 7}',
        source="/shop/7",
        type="order.created",
        subject="order/7",
        time=datetime(2026, 11, 27, 21, 34, 44, 573_000, tzinfo=UTC),
        content_type="application/json; charset=utf-8",
        traceparent=TRACEPARENT,
    ),
    "live_without_body": live("e-1", at("12.191"), b""),
    "live_traced": live(
        "traced-1",
        at("13.069"),
        b"{}",
        content_type="text/plain",
        traceparent="00-25350a10633a8ee99adc1a16326b9907-e86279650f7569a5-03",
    ),
    "stranger_plain": strange("0008c6d0abef401a8d852be2858f8df4", b"plain"),
    "stranger_full": replace(
        strange(
            "stranger-1",
            b"compressed",
            datetime(2026, 11, 27, 12, 30, tzinfo=UTC),
            type="stranger.type",
            content_type="text/x-any",
        ),
        content_encoding="br",
    ),
    "dead_by_the_broker": strange("stranger-2", b"late"),
    "retry": copy("retry-1", at("17.242"), attempt=2, failure=failed(at("17.246"))),
    "retry_again": copy("retry-2", at("17.285"), attempt=5, failure=failed(at("17.287"))),
    "retry_traced": copy(
        "retry-3",
        at("18.591"),
        attempt=2,
        failure=failed(at("18.596"), traceparent="00-0af7651916cd43dd8448eb211c80319c-17ad8d07919fed59-01"),
        traceparent=TRACEPARENT,
    ),
    "deferred": copy("defer-1", at("17.301")),
    "due": copy("due-1", at("23.011"), attempt=2, failure=failed(at("23.014"))),
    "dead": copy("dead-1", at("27.028"), failure=failed(at("27.033"), status=500)),
    "dead_without_status": copy("dead-2", at("28.103"), failure=failed(at("28.106"), "connection", None)),
    "replayed": copy("dead-3", at("29.302")),
}


def test_the_record_of_0_1_0_has_a_message_of_each_kind() -> None:
    assert set(recorded_messages("0.1.0")) == set(EXPECTED_OF_0_1_0)


@pytest.mark.parametrize("kind", EXPECTED_OF_0_1_0)
def test_a_message_of_0_1_0_is_read_as_it_was_meant(kind: str) -> None:
    message, expected = recorded_messages("0.1.0")[kind], EXPECTED_OF_0_1_0[kind]
    properties = properties_of(message.content_header)
    envelope = decode(
        body=message.body,
        headers=properties.headers,
        message_id=properties.message_id,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        timestamp=properties.timestamp,
    )
    if expected.event.accepted_at is NOW:
        assert utc_now() - envelope.event.accepted_at < timedelta(minutes=1)
        envelope = replace(envelope, event=replace(envelope.event, time=NOW, accepted_at=NOW))
    assert envelope == expected


def test_orders_of_0_1_0_are_read_as_they_were_meant() -> None:
    orders = {kind: decode_overrides(body) for kind, body in recorded_bodies("0.1.0", "runtime").items()}
    assert orders == {
        "pause": Overrides(is_paused=True),
        "rate_while_paused": Overrides(rate_per_s=12.5, is_paused=True),
        "resume": Overrides(rate_per_s=12.5),
        "as_configured": Overrides(),
    }
