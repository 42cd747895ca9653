"""The senders of the world at a live collector: signed, as CloudEvents, in batches."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from eventflow.topology import Lane, lane_queue
from sandbox.ports import free_port
from tests.support import senders
from tests.support.amqp import Amqp
from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

OLD_SECRET = "cHJldmlvdXMgc2VjcmV0IG9mIHRlc3Q="
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
KEY = {"X-Api-Key": API_KEY}
BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """A collector with a flow for each kind of sender, and one with keys alone."""

    service: Service
    prefix: str

    def flow(self, kind: str) -> str:
        return f"{self.prefix}{kind}"

    def url(self, kind: str) -> str:
        return f"{self.service.url.rpartition('/')[0]}/{self.flow(kind)}"

    def queue(self, kind: str) -> str:
        return lane_queue(self.flow(kind), Lane.LIVE)


@pytest.fixture(scope="module")
def running(broker_url: str) -> Iterator[Sources]:
    prefix = f"t{secrets.token_hex(4)}"
    settings = {}
    for kind in ("github", "shopify", "stripe", "standard-webhooks", "hmac"):
        name = f"FLOWS__{prefix}{kind}__SOURCE__".upper()
        settings |= {f"{name}VERIFY": kind, f"{name}SECRETS": f"{OLD_SECRET},{SECRET}"}
        if kind == "hmac":
            settings |= {f"{name}HMAC_HEADER": "X-Signature", f"{name}API_KEYS": API_KEY}
    service = collector(broker_url, flow=f"{prefix}keys", **settings)

    async def ready() -> None:
        async with aiohttp.ClientSession() as client:
            await service.ready(client)

    with service.process:
        asyncio.run(ready())
        yield Sources(service=service, prefix=prefix)
    assert service.tracebacks == []


@pytest.fixture
async def sources(running: Sources, amqp: Amqp) -> AsyncIterator[Sources]:
    """The same collector for all, with empty queues."""
    yield running
    for kind in ("github", "shopify", "stripe", "standard-webhooks", "hmac", "keys"):
        await amqp.drain(running.queue(kind))


SIGNERS = {
    "github": senders.github,
    "shopify": senders.shopify,
    "stripe": senders.stripe,
    "standard-webhooks": senders.standard,
}
TIMED_SIGNERS = {"stripe": senders.stripe, "standard-webhooks": senders.standard}


@pytest.mark.parametrize("kind", SIGNERS)
async def test_signed_real_bodies_are_taken_byte_for_byte(
    sources: Sources, amqp: Amqp, http: aiohttp.ClientSession, webhook_bodies: dict[str, bytes], kind: str
) -> None:
    async def post(body: bytes) -> int:
        headers = {"Content-Type": "application/json", **SIGNERS[kind](SECRET, body)}
        async with http.post(sources.url(kind), data=body, headers=headers) as answer:
            return answer.status

    bodies = list(webhook_bodies.values())
    assert set(await asyncio.gather(*map(post, bodies))) == {202}
    taken = await amqp.drain(sources.queue(kind))
    assert sorted(message.body for message in taken) == sorted(bodies)


@pytest.mark.parametrize("kind", [*SIGNERS, "hmac"])
async def test_every_failed_check_gets_the_same_answer_is_counted_by_reason_and_shows_nothing(
    sources: Sources, amqp: Amqp, http: aiohttp.ClientSession, kind: str
) -> None:
    body = b'{"body": "never logged"}'
    sign = SIGNERS.get(kind, lambda secret, body: {"X-Signature": senders.github(secret, body).popitem()[1]})
    attempts: list[tuple[dict[str, str], str]] = [({}, "missing"), (sign("d3Jvbmc=", body), "mismatch")]
    if kind in TIMED_SIGNERS:
        old = str(int(time.time()) - 400)
        stale = TIMED_SIGNERS[kind](SECRET, body, old)
        attempts.append((stale, "stale"))
        attempts.append(({key: value.replace(old, "x") for key, value in stale.items()}, "malformed"))
    answers = set()
    for headers, reason in attempts:
        name = f'eventflow_events_rejected_total{{flow="{sources.flow(kind)}",reason="signature_{reason}"}}'
        before = await counted(sources.service, http, name)
        async with http.post(sources.url(kind), data=body, headers={**KEY, **headers}) as answer:
            answers.add((answer.status, await answer.text()))
        assert await counted(sources.service, http, name) == before + 1
        for value in headers.values():
            assert value not in sources.service.output
    assert {status for status, _ in answers} == {401}
    assert len(answers) == 1, "which part failed is not told"
    assert await amqp.depth(sources.queue(kind)) == 0
    assert "never logged" not in sources.service.output
    assert SECRET not in sources.service.output


async def counted(service: Service, http: aiohttp.ClientSession, sample: str) -> float:
    async with http.get(f"{service.admin_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{sample} "))


async def test_a_key_and_a_signature_are_both_needed_where_both_are_set(
    sources: Sources, http: aiohttp.ClientSession
) -> None:
    signed = {"X-Signature": senders.github(SECRET, b"{}")["X-Hub-Signature-256"].removeprefix("sha256=")}
    async with http.post(sources.url("hmac"), data=b"{}", headers={**KEY, **signed}) as answer:
        assert answer.status == 202
    refusals = []
    for headers in (signed, KEY, {}):
        async with http.post(sources.url("hmac"), data=b"{}", headers=headers) as answer:
            assert answer.status == 401
            refusals.append((await answer.read(), {**answer.headers, "Date": ""}))
    assert refusals.count(refusals[0]) == 3, "no answer tells which of the two was wrong"


async def test_a_stripe_event_is_named_by_its_body(sources: Sources, amqp: Amqp, http: aiohttp.ClientSession) -> None:
    body = json.dumps({"id": "evt_1", "object": "event", "created": 1752443484, "type": "charge.refunded"}).encode()
    headers = {"Idempotency-Key": "not this", **senders.stripe(SECRET, body)}
    async with http.post(sources.url("stripe"), data=body, headers=headers) as answer:
        assert await answer.json() == {"id": "evt_1"}
    [message] = await amqp.drain(sources.queue("stripe"))
    assert message.headers["cloudEvents:type"] == "charge.refunded"
    assert message.headers["cloudEvents:time"] == "2025-07-13T21:51:24.000Z"


async def test_a_broken_coding_is_refused_only_after_the_signature_is_checked(
    sources: Sources, http: aiohttp.ClientSession
) -> None:
    for secret, status in ((SECRET, 400), ("another", 401)):
        headers = {"Content-Encoding": "gzip", **senders.github(secret, b"\x1f\x8b")}
        async with http.post(sources.url("github"), data=b"\x1f\x8b", headers=headers) as answer:
            assert answer.status == status


def sdk_event(number: int, data: object = None) -> CloudEvent:
    attributes = {"id": f"sdk {number} ü", "source": "/sdk", "type": "com.example.made", "subject": f"thing {number}"}
    return CloudEvent(attributes=attributes, data=data or {"number": number})


@pytest.mark.parametrize("write", [to_binary_event, to_structured_event])
async def test_what_the_official_sdk_sends_is_understood(
    sources: Sources, amqp: Amqp, http: aiohttp.ClientSession, write: Callable[[CloudEvent], HTTPMessage]
) -> None:
    event = sdk_event(1)
    message = write(event)
    async with http.post(sources.url("keys"), data=message.body, headers={**KEY, **message.headers}) as answer:
        assert answer.status == 202
        assert await answer.json() == {"id": event.get_id()}
    [taken] = await amqp.drain(sources.queue("keys"))
    assert taken.body == message.body
    assert taken.headers["cloudEvents:source"] == "/sdk"
    assert taken.headers["cloudEvents:type"] == "com.example.made"
    assert taken.headers["cloudEvents:subject"] == "thing 1"


async def test_a_batch_of_the_official_sdks_events_becomes_events_in_order(
    sources: Sources, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    events = [sdk_event(number) for number in range(20)]
    parts = [to_structured_event(event).body for event in events]
    body = b"[" + b",".join(parts) + b"]"
    async with http.post(sources.url("keys"), data=body, headers={**KEY, "Content-Type": BATCH}) as answer:
        assert answer.status == 202
        assert await answer.json() == {"ids": [event.get_id() for event in events]}
    assert [message.body for message in await amqp.drain(sources.queue("keys"))] == parts


async def test_a_batch_sent_again_has_the_same_ids(sources: Sources, amqp: Amqp, http: aiohttp.ClientSession) -> None:
    headers = {**KEY, "Content-Type": "application/x-ndjson", "Idempotency-Key": "night"}
    expected = [f"night-{number}" for number in range(100)]
    for _ in range(2):
        async with http.post(sources.url("keys"), data=b'{"a":1}\n' * 100, headers=headers) as answer:
            assert await answer.json() == {"ids": expected}
    taken = await amqp.drain(sources.queue("keys"))
    assert [message.headers["cloudEvents:id"] for message in taken] == expected * 2
    assert len({message.message_id for message in taken}) == 200


@pytest.mark.parametrize(
    ("query", "content_type", "body", "status"),
    [
        ("?batch=1", "application/json", b"[1, 2, {]", 400),
        ("?batch=1", "application/json", b"[1, NaN]", 400),
        ("?batch=1", "application/json", b'[1, "\\ud800"]', 400),
        ("?batch=1", "application/json", b"[1, " + b"[" * 100_000, 400),
        ("?batch=1", "text/plain", b"[]", 415),
        ("?batch=2", "application/json", b"[]", 400),
        ("", "application/x-ndjson", b"1\n" * 1001, 413),
        ("", "application/cloudevents+xml", b"<event/>", 415),
        ("", BATCH, b'[{"specversion":"1.0","id":"1","source":"s","type":"t"}, {}]', 400),
        ("", "application/cloudevents+json", b"[" * 100_000, 400),
    ],
)
async def test_of_a_batch_all_events_are_taken_or_none(
    sources: Sources,
    amqp: Amqp,
    http: aiohttp.ClientSession,
    query: str,
    content_type: str,
    body: bytes,
    status: int,
) -> None:
    url = sources.url("keys") + query
    async with http.post(url, data=body, headers={**KEY, "Content-Type": content_type}) as answer:
        assert answer.status == status
        assert (await answer.json())["status"] == status
    assert await amqp.depth(sources.queue("keys")) == 0


async def test_a_batch_of_100_takes_far_less_than_100_requests(sources: Sources, http: aiohttp.ClientSession) -> None:
    part = b'{"a":"' + b"x" * 1000 + b'"}'

    async def taken_s(body: bytes, content_type: str, times: int) -> float:
        began_s = time.perf_counter()
        for _ in range(times):
            headers = {**KEY, "Content-Type": content_type}
            async with http.post(sources.url("keys"), data=body, headers=headers) as answer:
                assert answer.status == 202
        return time.perf_counter() - began_s

    await taken_s(part, "application/json", 5)
    singly_s = min([await taken_s(part, "application/json", 100) for _ in range(3)])
    together_s = min([await taken_s((part + b"\n") * 100, "application/x-ndjson", 1) for _ in range(3)])
    assert together_s < singly_s / 3, (together_s, singly_s)


async def test_a_batch_that_the_broker_cannot_confirm_is_spooled_whole_or_refused(
    flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    away = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    headers = {**KEY, "Content-Type": "application/x-ndjson", "Idempotency-Key": "b"}
    for settings, status in [({"COLLECTOR__SPOOL_DIR": str(tmp_path / "spool")}, 202), ({}, 503)]:
        service = collector(away, flow=flow, COLLECTOR__CONFIRM_TIMEOUT_S="2", **settings)
        with service.process:

            async def is_up(running: Service = service) -> bool:
                return await running.readyz(http) is not None

            await eventually(is_up, what="the collector up")
            async with http.post(service.url, data=b"1\n" * 50, headers=headers) as answer:
                assert answer.status == status
                if status == 202:
                    assert (await answer.json())["ids"][49] == "b-49"
                    assert await service.metric(http, "eventflow_events_spooled_total") == 50
