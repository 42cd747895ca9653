"""Data of released versions keep their meaning. A person has taken the expected values from the records."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventflow.amqp.frames import properties_of
from eventflow.control.overrides import Overrides, decode_overrides
from eventflow.event import Event, utc_now
from eventflow.forwarded import Forwarded
from eventflow.message import Envelope, Failure, decode
from tests.support.recorded import recorded_bodies, recorded_messages
from tests.support.recorded_values import VALUES, Values
from tests.support.releases import RELEASES

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for the time of reading, which is used for a message without a time."""


PAUSED_AT = {
    "0.2.0": datetime(2026, 11, 29, 12, 19, 17, 708_000, tzinfo=UTC),
    "0.3.0": datetime(2026, 11, 29, 12, 17, 11, 788_000, tzinfo=UTC),
}
"""0.1.0 does not note when and by whom a flow is paused."""


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


def meaning_of(values: Values) -> dict[str, Envelope]:
    """Return the meaning of each message of a version."""
    at, failed_at = values.accepted, values.failed
    reason, detail = values.silence
    full: dict[str, Any] = {
        "source": "/shop/7",
        "type": "order.created",
        "subject": "order/7",
        "time": datetime(2026, 11, 27, 21, 34, 44, 573_000, tzinfo=UTC),
        "content_type": "application/json; charset=utf-8",
        "traceparent": TRACEPARENT,
    }
    extended = {
        "subject": "s" * 300,
        "dataschema": "https://example.com/schema",
        "extensions": {"region": "eu-1"},
        "forwarded": Forwarded(text='{"headers":{"x-shop":"7"}}'),
    }
    meaning = {
        "live_bare": live(values.bare_id, at("live_bare"), b"\x00any\xff"),
        "live_full": live("füll-1", at("live_full"), b'{"n": 7}', **full),
        "live_without_body": live("e-1", at("live_without_body"), b""),
        "live_traced": live(
            "traced-1", at("live_traced"), b"{}", content_type="text/plain", traceparent=values.live_traceparent
        ),
        "stranger_plain": strange(values.plain_id, b"plain"),
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
        "retry": copy("retry-1", at("retry"), attempt=2, failure=failed(failed_at("retry"))),
        "retry_again": copy("retry-2", at("retry_again"), attempt=5, failure=failed(failed_at("retry_again"))),
        "retry_traced": copy(
            "retry-3",
            at("retry_traced"),
            attempt=2,
            failure=failed(failed_at("retry_traced"), traceparent=values.retry_traceparent),
            traceparent=TRACEPARENT,
        ),
        "deferred": copy("defer-1", at("deferred")),
        "due": copy("due-1", at("due"), attempt=2, failure=failed(failed_at("due"))),
        "dead": copy("dead-1", at("dead"), failure=failed(failed_at("dead"), status=500)),
        "dead_without_status": copy(
            "dead-2",
            at("dead_without_status"),
            failure=failed(failed_at("dead_without_status"), reason, None, detail=detail),
        ),
        "replayed": copy("dead-3", at("replayed")),
    }
    if values.has_extensions:
        meaning["live_extended"] = live("extended-1", at("live_extended"), b"{}", **{**full, **extended})
    return meaning


MEANINGS = {version: meaning_of(values) for version, values in VALUES.items()}


def test_every_release_is_recorded() -> None:
    assert set(RELEASES) == set(VALUES)


@pytest.mark.parametrize("version", VALUES)
def test_the_record_of_a_version_has_a_message_of_each_kind(version: str) -> None:
    assert set(recorded_messages(version)) == set(MEANINGS[version])


@pytest.mark.parametrize(("version", "kind"), [(version, kind) for version in VALUES for kind in MEANINGS[version]])
def test_a_message_of_a_released_version_is_read_as_it_was_meant(version: str, kind: str) -> None:
    message, expected = recorded_messages(version)[kind], MEANINGS[version][kind]
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


@pytest.mark.parametrize("version", VALUES)
def test_orders_of_a_released_version_are_read_as_they_were_meant(version: str) -> None:
    orders = {kind: decode_overrides(body) for kind, body in recorded_bodies(version, "runtime").items()}
    pause = Overrides(is_paused=True)
    if version in PAUSED_AT:
        pause = replace(pause, paused_at=PAUSED_AT[version], paused_by="root@vm")
    assert orders == {
        "pause": pause,
        "rate_while_paused": replace(pause, rate_per_s=12.5),
        "resume": Overrides(rate_per_s=12.5),
        "as_configured": Overrides(),
    }
