"""Handshakes at a live collector, over both of its ways: answered at once, and nothing is published."""

import asyncio
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from eventflow.topology import Lane, lane_queue
from eventflow_collector.openapi import document
from tests.integration.test_fuzz import CASES, TIMEOUT_S, schemathesis_run
from tests.support.amqp import Amqp
from tests.support.handshakes import DESCRIPTIONS, HANDSHAKES, JSON, SECRET, VERIFY_TOKEN, Handshaking, digest_of
from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

SENDERS = (*sorted({one.sender for one in HANDSHAKES.values()}), "sns-like")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it came."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshakers:
    """Two collectors of the same flows, which differ in the way that their requests take."""

    services: tuple[Service, Service]
    prefix: str

    def flow(self, sender: str) -> str:
        return f"{self.prefix}{sender.removesuffix('-like')}"

    async def ask(self, http: aiohttp.ClientSession, handshake: Handshaking, *, flow: str | None = None) -> Answer:
        """Make a request in both ways; return the answer, which is the same."""
        answers = []
        for service in self.services:
            url = f"{service.url.rpartition('/')[0]}/{flow or self.flow(handshake.sender)}"
            async with http.request(
                handshake.method,
                URL(url + (f"?{handshake.query}" if handshake.query else ""), encoded=True),
                data=handshake.body or None,
                headers={"Content-Type": "text/plain", **handshake.signed_headers},
            ) as answer:
                headers = CIMultiDict(answer.headers)
                headers.pop("Date")
                answers.append(Answer(status=answer.status, headers=headers, body=await answer.read()))
        assert answers[0] == answers[1]
        return answers[0]

    async def messages(self, amqp: Amqp) -> list[bytes]:
        flows = [self.flow(sender) for sender in SENDERS] + [f"{self.prefix}none"]
        return [message.body for flow in flows for message in await amqp.drain(lane_queue(flow, Lane.LIVE))]


@pytest.fixture(scope="module")
def running(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handshakers]:
    prefix = f"t{secrets.token_hex(4)}"
    flows = [f'[flows.{prefix}none.source]\napi_keys = ["{API_KEY}"]']
    for sender in SENDERS:
        tokens = f'verify_tokens = ["{VERIFY_TOKEN}"]' if sender == "meta-like" else ""
        name = f"{prefix}{sender.removesuffix('-like')}"
        flows.append(f'[flows.{name}.source]\nverify = "{sender}"\nsecrets = ["{SECRET}"]\n{tokens}')
    config: Path = tmp_path_factory.mktemp("handshakes") / "eventflow.toml"
    config.write_text("\n".join([DESCRIPTIONS, *flows]))
    services = tuple(
        collector(broker_url, flow=f"{prefix}keys", module=module, CONFIG=str(config))
        for module in ("eventflow_collector", "tests.support.aiohttp_alone")
    )

    async def ready() -> None:
        async with aiohttp.ClientSession() as client:
            for service in services:
                await service.ready(client)

    with ExitStack() as stack:
        for service in services:
            stack.enter_context(service.process)
        asyncio.run(ready())
        yield Handshakers(services=(services[0], services[1]), prefix=prefix)
    assert all(service.tracebacks == [] for service in services)


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_each_kind_is_answered_and_not_published(
    running: Handshakers, amqp: Amqp, http: aiohttp.ClientSession, name: str
) -> None:
    handshake = HANDSHAKES[name]
    counted = [await service.metric(http, "eventflow_handshakes_total") for service in running.services]
    answer = await running.ask(http, handshake)
    assert (answer.status, answer.body) == (handshake.status, handshake.answer)
    assert answer.headers.items() >= dict(handshake.answer_headers).items()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert await running.messages(amqp) == []
    for service, before in zip(running.services, counted, strict=True):
        assert await service.metric(http, "eventflow_handshakes_total") == before + 1


async def test_nothing_reflected_is_logged(running: Handshakers, http: aiohttp.ClientSession) -> None:
    await running.ask(http, HANDSHAKES["dropbox"])
    for service in running.services:

        async def is_logged(service: Service = service) -> bool:
            flow = running.flow("dropbox-like")
            return any((line["flow"], line["status"]) == (flow, 200) for line in service.logged("handshake.answered"))

        await eventually(is_logged, what="the line of the handshake")
        assert "abc<b>" not in service.output
        assert VERIFY_TOKEN not in service.output
        assert SECRET not in service.output


@pytest.mark.parametrize("name", list(HANDSHAKES))
async def test_a_flow_without_handshakes_reflects_nothing(
    running: Handshakers, amqp: Amqp, http: aiohttp.ClientSession, name: str
) -> None:
    handshake = HANDSHAKES[name]
    answer = await running.ask(http, handshake, flow=f"{running.prefix}none")
    assert answer.status == (401 if handshake.method == "POST" else 405)
    assert answer.headers.get("Allow") == (None if handshake.method == "POST" else "POST")
    assert await running.messages(amqp) == []


@pytest.mark.parametrize("name", [name for name, one in HANDSHAKES.items() if one.signature or name == "xero"])
async def test_a_handshake_that_must_be_authentic_is_not_answered_to_a_stranger(
    running: Handshakers, amqp: Amqp, http: aiohttp.ClientSession, name: str
) -> None:
    handshake = HANDSHAKES[name]
    for body in (handshake.body + b" ", handshake.body.replace(b"}", b" }")):
        forged = replace(handshake, body=body, headers=handshake.signed_headers, signature=None)
        assert (await running.ask(http, forged)).status == 401
    assert await running.messages(amqp) == []


async def test_events_of_the_same_flows_still_arrive(
    running: Handshakers, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    body = b'{"type": 2}'
    event = Handshaking(sender="discord-like", headers=JSON, body=body, signature=("X-Signature", "{}"))
    for service in running.services:
        url = f"{service.url.rpartition('/')[0]}/{running.flow('discord-like')}"
        async with http.post(url, data=body, headers=event.signed_headers) as answer:
            assert answer.status == 202
    assert await running.messages(amqp) == [body, body]


async def test_a_method_is_taken_for_handshakes_only(running: Handshakers, http: aiohttp.ClientSession) -> None:
    meta = replace(HANDSHAKES["meta"], query="")
    answer = await running.ask(http, meta)
    assert answer.status == 400
    assert "handshakes" in json.loads(answer.body)["detail"]
    answer = await running.ask(http, replace(meta, method="DELETE"))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,POST")
    answer = await running.ask(http, replace(HANDSHAKES["meta"], query=HANDSHAKES["meta"].query + "x"))
    assert (answer.status, answer.headers["Content-Type"]) == (403, "application/problem+json")


async def test_control_characters_are_not_reflected(running: Handshakers, http: aiohttp.ClientSession) -> None:
    for challenge in ("a%0d%0aSet-Cookie:%20b", "%00", "a" * 1025, "%7f", "%e2%80%ae"):
        answer = await running.ask(http, replace(HANDSHAKES["dropbox"], query=f"challenge={challenge}"))
        assert answer.status == 400
        assert "Set-Cookie" not in answer.headers


async def test_a_digest_of_a_strangers_choice_signs_no_event(
    running: Handshakers, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    twitter = HANDSHAKES["twitter"]
    obtained = json.loads((await running.ask(http, twitter)).body)["response_token"]
    forged = Handshaking(sender="twitter-like", headers={"X-Signature": obtained}, body=b"NDhlZTg5")
    assert (await running.ask(http, forged)).status == 401
    answer = await running.ask(http, replace(twitter, query='crc_token={"forged":1}'))
    assert answer.status == 400
    assert await running.messages(amqp) == []


async def test_a_subscription_is_refused_unless_the_setting_allows_it(
    running: Handshakers, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    body = b'{"SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Token=1"}'
    headers = {"x-amz-sns-message-type": "SubscriptionConfirmation", "X-Signature": digest_of(body).hex()}
    confirmation = Handshaking(sender="sns-like", headers=headers, body=body)
    assert (await running.ask(http, confirmation)).status == 403
    assert (await running.ask(http, replace(confirmation, body=body + b" "))).status == 401
    assert await running.messages(amqp) == []


DOCUMENTED = frozenset(int(status) for status in document()["paths"]["/events/{flow}"]["post"]["responses"])

VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["subscribe", VERIFY_TOKEN, "SubscriptionValidation", "1", "a" * 1100, "\r\nSet-Cookie: a=b", "<b>", ""]
    ),
)
NAMES = [
    "hub.mode",
    "hub.challenge",
    "hub.verify_token",
    "challenge",
    "validationToken",
    "crc_token",
    "X-Okta-Verification-Challenge",
    "aeg-event-type",
    "WebHook-Request-Origin",
    "x-amz-sns-message-type",
    "X-Hook-Secret",
    "type",
    "event",
    "events",
    "payload",
    "plainToken",
    "webhook_id",
]
JSON_VALUES = st.recursive(
    VALUES | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([one.body for one in HANDSHAKES.values()]),
)


@st.composite
def like_handshakes(draw: st.DrawFn) -> tuple[str, bytes]:
    """A flow's sender, and a raw request that resembles a handshake."""
    base = draw(st.sampled_from(list(HANDSHAKES.values())))
    method = draw(st.just(base.method) | st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"]))
    query = draw(st.just(base.query) | st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3).map(urlencode))
    headers = draw(st.just(base.signed_headers) | st.just({}))
    if draw(st.booleans()):
        headers = {**headers, draw(st.sampled_from(NAMES)): draw(VALUES).encode().decode("latin-1")}
    body = draw(st.just(base.body) | BODIES)
    fields = [f"{name}: {value}" for name, value in headers.items() if "\r" not in value and "\n" not in value]
    target = f"/events/{{}}{'?' + query if query else ''}"
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *fields, f"Content-Length: {len(body)}"]
    return base.sender, "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.mark.timeout(TIMEOUT_S)
@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(made=like_handshakes())
def test_a_request_like_a_handshake_has_a_documented_answer(running: Handshakers, made: tuple[str, bytes]) -> None:
    sender, request = made
    request = request.replace(b"{}", running.flow(sender).encode(), 1)

    async def answers() -> list[bytes]:
        return [await _answer_of(service, request) for service in running.services]

    own, other = asyncio.run(answers())
    assert own == other
    head, _, body = own.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in DOCUMENTED
    lines = head.lower().split(b"\r\n")
    assert not any(line.startswith(b"set-cookie") for line in lines)
    if b"content-type: text/plain; charset=utf-8" in lines:
        assert b"x-content-type-options: nosniff" in lines
        assert body.decode().isprintable()


@pytest.mark.timeout(TIMEOUT_S * 2)
@pytest.mark.parametrize("sender", ["azure-like", "meta-like", "trello-like"])
def test_schemathesis_finds_nothing_in_flows_with_handshakes(running: Handshakers, tmp_path: Path, sender: str) -> None:
    run = schemathesis_run(
        running.services[0], running.flow(sender), tmp_path, "--include-path", "/events/{flow}", examples=5
    )
    assert run.returncode == 0, run.stdout + run.stderr


async def _answer_of(service: Service, request: bytes) -> bytes:
    place = URL(service.url)
    assert place.host is not None
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"made-id", re.sub(rb"\r\nDate: [^\r]*", b"", answer))
