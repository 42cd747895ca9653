"""Real webhook bodies, all the way."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook, WebhookVerificationError

from tests.e2e.conftest import Way
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Way]]


async def test_real_webhooks_reach_the_target_byte_for_byte(way: Start, webhook_bodies: dict[str, bytes]) -> None:
    running = await way(preloaded=False)
    await asyncio.gather(*(running.send(name, body) for name, body in webhook_bodies.items()))
    await eventually(lambda: running.target.ids == set(webhook_bodies), what="all bodies at the target")
    for receipt in running.target.receipts:
        assert hashlib.sha256(receipt.body).digest() == hashlib.sha256(webhook_bodies[receipt.id]).digest()
        assert receipt.headers["Content-Type"] == "application/json"


async def test_trace_context_and_cloudevents_attributes_reach_the_target(way: Start) -> None:
    running = await way(preloaded=False)
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": "spaced id ü%",
        "ce-source": "/shop/1",
        "ce-type": "com.example.created",
        "ce-time": "2025-07-13T21:34:44.573+02:00",
        "traceparent": traceparent,
        "X-Api-Key": "test-key",
    }
    async with running.http.post(running.collector.url, data=b"\x00", headers=attributes) as answer:
        assert answer.status == 202
    await eventually(lambda: bool(running.target.receipts), what="the event")
    headers = running.target.receipts[0].headers
    assert headers["ce-id"] == "spaced%20id%20%C3%BC%25"
    assert headers["ce-source"] == "/shop/1"
    assert headers["ce-type"] == "com.example.created"
    assert headers["ce-time"] == "2025-07-13T19:34:44.573Z"
    assert headers["traceparent"] == traceparent
    assert "X-Api-Key" not in headers


async def test_a_target_can_ask_for_cloudevents_and_verify_who_sent_them(
    way: Start, webhook_bodies: dict[str, bytes]
) -> None:
    current, following = "whsec_Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=", "whsec_Zm9sbG93aW5nIHNlY3JldCBvZiB0ZXN0"
    running = await way(preloaded=False, TARGET__FORMAT="cloudevents", TARGET__SIGNING_SECRETS=f"{current},{following}")
    documents = {name: body for name, body in webhook_bodies.items() if body.strip()}
    await asyncio.gather(*(running.send(name, body) for name, body in documents.items()))
    await eventually(lambda: running.target.ids == set(documents), what="all bodies at the target")
    for receipt in running.target.receipts:
        Webhook(current).verify(receipt.body, dict(receipt.headers))
        Webhook(following).verify(receipt.body, dict(receipt.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_b3RoZXI=").verify(receipt.body, dict(receipt.headers))
        event = from_http_event(HTTPMessage(headers=dict(receipt.headers), body=receipt.body))
        assert event.get_id() == receipt.id
        assert event.get_data() == json.loads(documents[receipt.id])
        assert documents[receipt.id] in receipt.body, "the JSON stands there as it was written"
