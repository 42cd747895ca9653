"""Ways to a target with real processes: a proxy, TLS on both sides, access tokens, a path for each event."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aio_pika import Message
from aiohttp import web

from eventflow.event import Event, utc_now
from eventflow.message import Envelope, encode
from eventflow.service.lifecycle import EXIT_CONFIGURATION
from eventflow.topology import Lane, dead_queue, lane_queue
from tests.support.amqp import Amqp
from tests.support.certificates import Authority
from tests.support.cli import Command
from tests.support.forward_proxy import PASSWORD, USER, forward_proxy
from tests.support.programs import ended
from tests.support.services import processor
from tests.support.target import ScriptedTarget
from tests.support.token_endpoint import SECRET, Identity, identity
from tests.support.wait import eventually

CLIENTS = ("lean", "aiohttp")


def about(subject: str | None, event_id: str) -> Message:
    """Build a message as the collector publishes it."""
    now = utc_now()
    event = Event(id=event_id, source="test", type="t", time=now, accepted_at=now, body=b"{}")
    ours = encode(Envelope(event=replace(event, subject=subject)))
    return Message(ours.body, headers=dict(ours.headers), message_id=ours.message_id)


@asynccontextmanager
async def secured(here: Identity, tls: ssl.SSLContext) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Run a target over TLS that accepts the latest token only; yield its URL, and the method of each accepted path."""
    accepted: dict[str, str] = {}

    async def accept(request: web.Request) -> web.Response:
        await request.read()
        if not here.tokens or request.headers.get("Authorization") != f"Bearer {here.tokens[-1]}":
            return web.Response(status=401, text=f"bad: {request.headers.get('Authorization')}")
        accepted[request.raw_path] = request.method
        return web.Response(status=204)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", accept)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"https://localhost:{runner.addresses[0][1]}", accepted
    finally:
        await runner.cleanup()


def oauth(here: Identity) -> dict[str, str]:
    return {
        "TARGET__OAUTH2_TOKEN_URL": here.token_url,
        "TARGET__OAUTH2_CLIENT_ID": "event-flow",
        "TARGET__OAUTH2_CLIENT_SECRET": SECRET,
    }


@pytest.mark.parametrize("client", CLIENTS)
async def test_events_pass_a_proxy_both_certificates_and_a_revoked_token(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path, client: str
) -> None:
    authority = Authority(tmp_path)
    tls = authority.server_of("DNS:localhost")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.certificate)
    await amqp.declare_flow(flow)
    async with (
        identity() as here,
        forward_proxy(asks_password=True) as proxy,
        secured(here, tls) as (url, accepted),
    ):
        service = processor(
            broker_url,
            flow=flow,
            target_url=f"{url}/{{flow}}/{{subject}}",
            TARGET__CLIENT=client,
            TARGET__METHOD="PUT",
            TARGET__PROXY=f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{proxy.port}",
            TARGET__CA_FILE=str(authority.certificate),
            TARGET__CLIENT_CERTIFICATE_FILE=str(authority.issue("DNS:client.test")),
            **oauth(here),
        )
        with service.process:
            await service.ready(http)
            queue = lane_queue(flow, Lane.LIVE)
            await amqp.publish(queue, *(about(f"a/{number}", f"e-{number}") for number in range(20)))
            await eventually(lambda: len(accepted) == 20, what=lambda: f"20 events:\n{service.output}")
            here.revoke()
            await amqp.publish(queue, *(about(f"b/{number}", f"f-{number}") for number in range(20)))
            await eventually(lambda: len(accepted) == 40, what=lambda: f"40 events:\n{service.output}")
            assert await service.metric(http, "eventflow_events_retried_total") == 0
            assert len(here.requests) == 2
            metrics = await (await http.get(f"{service.admin_url}/metrics")).text()
        assert accepted.items() >= {f"/{flow}/{kind}%2F{n}": "PUT" for kind in "ab" for n in range(20)}.items()
        assert not service.tracebacks
        for secret in (PASSWORD, quote(PASSWORD, safe=""), SECRET, *here.tokens):
            assert secret not in service.output
            assert secret not in metrics


@pytest.mark.parametrize("client", CLIENTS)
async def test_without_a_token_events_wait_and_none_is_given_up(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, client: str
) -> None:
    await amqp.declare_flow(flow)
    async with identity() as here:
        here.answer = web.json_response({"error": "temporarily_unavailable"}, status=503)
        service = processor(
            broker_url,
            flow=flow,
            target_url=here.target_url,
            TARGET__CLIENT=client,
            TARGET__MAX_ATTEMPTS="1",
            **oauth(here),
        )
        with service.process:
            await service.ready(http)
            await amqp.publish(lane_queue(flow, Lane.LIVE), *(about(None, f"e-{number}") for number in range(10)))
            await service.counts(http, "eventflow_breaker_open", 1)
            assert here.received == []
            why = await Command(broker_url=broker_url, flow=flow)("status")
            assert "no_token" in why.stdout, why.stdout
            assert "HTTP 503, temporarily_unavailable" in why.stdout
            here.answer = None
            await service.counts(http, "eventflow_events_delivered_total", 10)
        assert await amqp.depth(dead_queue(flow)) == 0
        assert {status for _, status in here.received} == {204}
        [opened] = service.logged("breaker.opened")
        assert opened["detail"] == "no_token"


async def test_an_event_for_which_no_request_can_be_built_is_a_dead_letter_in_words(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.declare_flow(flow)
    command = Command(broker_url=broker_url, flow=flow)
    async with ScriptedTarget() as target:
        service = processor(broker_url, flow=flow, target_url=f"{target.url}/{{subject}}")
        with service.process:
            await service.ready(http)
            for event_id, subject in (("e-1", None), ("e-2", "../admin"), ("e-3", "42")):
                await amqp.publish(lane_queue(flow, Lane.LIVE), about(subject, event_id))

            async def are_dead() -> bool:
                return await amqp.depth(dead_queue(flow)) == 2

            await eventually(are_dead, what="two events given up")
            await eventually(lambda: target.ids == {"e-3"}, what="the third event")
            assert await service.metric(http, "eventflow_breaker_open") == 0
            why = await command("why", "e-2")
            assert "unsendable" in why.stdout
        shown = await command("dead", "show", "e-1")
        assert "unsendable" in shown.stdout
        assert "the event has no subject" in " ".join(shown.stdout.split())
        found = await command("dead", "list", "--reason", "unsendable")
        assert "e-1" in found.stdout
        assert "e-2" in found.stdout


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_redirect_gets_neither_event_nor_credentials(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, client: str
) -> None:
    await amqp.declare_flow(flow)
    async with ScriptedTarget() as elsewhere, identity() as here:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": elsewhere.url})

        async with ScriptedTarget(answer=lambda _: redirect) as target:
            service = processor(
                broker_url,
                flow=flow,
                target_url=target.url,
                TARGET__CLIENT=client,
                TARGET__MAX_ATTEMPTS="1",
                **oauth(here),
            )
            with service.process:
                await service.ready(http)
                await amqp.publish(lane_queue(flow, Lane.LIVE), about(None, "e-1"))

                async def is_dead() -> bool:
                    return await amqp.depth(dead_queue(flow)) == 1

                await eventually(is_dead, what="the event given up")
        assert elsewhere.receipts == []
    [letter] = await amqp.drain(dead_queue(flow))
    assert letter.headers["eventflow-reason"] == "redirect"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("URL", "http://{id}.test/"),
        ("URL", "http://target.test/{subjct}"),
        ("PROXY", "http://user:s3cret@proxy:99999"),
        ("CA_FILE", "/nowhere/ca.pem"),
        ("CLIENT_CERTIFICATE_FILE", "/nowhere/own.pem"),
        ("METHOD", "GET"),
        ("OAUTH2_CLIENT_SECRET", "s3cret-without-url"),
    ],
)
async def test_a_wrong_setting_ends_the_start_in_one_line(setting: str, value: str, tmp_path: Path) -> None:
    settings = {"TARGET__URL": "http://target.test/"} | {f"TARGET__{setting}": value}
    status, output = await ended("-m", "eventflow_processor", cwd=tmp_path, **settings)
    assert (status, len(output.splitlines())) == (EXIT_CONFIGURATION, 1), output
    assert f"EVENTFLOW_TARGET__{setting}" in output
    assert "s3cret" not in output
