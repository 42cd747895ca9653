"""Causes of unreached targets: each has its word, in a processor's metrics and log and in `eventflow check`."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, dead_queue, lane_queue
from sandbox.ports import free_port
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.certificates import Authority
from tests.support.cli import Command
from tests.support.raw_target import RawRequest, RawTarget
from tests.support.services import processor
from tests.support.wait import eventually

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NGINX_BODY = b"<html><body><center>The plain HTTP request was sent to HTTPS port</center></body></html>\r\n"
NGINX = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(NGINX_BODY), NGINX_BODY)


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a connection after its first bytes."""
    await reader.read(1)
    writer.close()


def answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        writer.close()

    return serve


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and answer nothing."""
    while await reader.read(65536):
        pass
    writer.close()


@pytest.fixture
async def urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, str]]:
    """A URL for each word that is the reason why its target is not reached, all of them under names of `localhost`."""
    ours, others = tmp_path / "ours", tmp_path / "others"
    ours.mkdir()
    others.mkdir()
    ca = Authority(ours)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.certificate))
    async with AsyncExitStack() as stack:

        async def port_of(serve: Serve, certificate: Path | None = None) -> int:
            tls = None
            if certificate is not None:
                tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                tls.load_cert_chain(certificate)
            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
            await stack.enter_async_context(server)
            return int(server.sockets[0].getsockname()[1])

        good, unknown = ca.issue("DNS:localhost"), Authority(others).issue("DNS:localhost")
        yield {
            "certificate_expired": f"https://localhost:{await port_of(close, ca.issue('DNS:localhost', days=-1))}/",
            "certificate_other_name": f"https://localhost:{await port_of(close, ca.issue('DNS:other.test'))}/",
            "certificate_unknown_ca": f"https://localhost:{await port_of(close, unknown)}/",
            "tls_on_plain_port": f"https://localhost:{await port_of(answering(NGINX))}/",
            "plain_on_tls_port": f"http://localhost:{await port_of(close, good)}/",
            "tls_failed": f"https://localhost:{await port_of(close)}/",
            "no_listener": f"http://localhost:{free_port()}/",
            "not_resolved": "http://nowhere.invalid/",
            "connect_timeout": f"https://localhost:{await port_of(swallow)}/",
        }


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
async def test_each_cause_has_its_word_in_metrics_and_log_and_counts_no_attempt(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, urls: dict[str, str], client: str
) -> None:
    """negotiator#1058. Reproduced on 0.1.0: all of them were `connection`, and the cause was nowhere."""
    flows = {f"{flow}x{number}": word for number, word in enumerate(urls)}
    of_flows = {
        f"FLOWS__{name.upper()}__TARGET__{setting}": value
        for name, word in flows.items()
        for setting, value in {
            "URL": urls[word],
            "TIMEOUT_S": "1",
            "RETRY_DELAYS_S": "1",
            "MAX_ATTEMPTS": "1",
            "CLIENT": client,
        }.items()
    }
    for name in (flow, *flows):
        await amqp.declare_flow(name, (1.0,))
    # Not forked: aiohttp reads SSL_CERT_FILE when it is imported.
    service = processor(broker_url, flow=flow, target_url=urls["no_listener"], preloaded=False, **of_flows)
    with service.process:
        await service.ready(http)
        for name in flows:
            await amqp.publish(lane_queue(name, Lane.LIVE), message(f"of-{name}"))
        found: set[tuple[str, str]] = set()

        async def are_all_found() -> bool:
            async with http.get(f"{service.admin_url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            found.update(
                (name, word)
                for name, word in flows.items()
                for line in lines
                if line.startswith("eventflow_attempts_failed_total{")
                and f'flow="{name}"' in line
                and f'detail="{word}"' in line
            )
            return len(found) == len(flows)

        await eventually(are_all_found, what=lambda: f"{set(flows.items()) - found}\n{service.output}")

        def logged_texts() -> dict[str, str | None]:
            attempts = service.logged("delivery.attempted")
            return {line["detail"]: line.get("text") for line in attempts if "detail" in line}

        await eventually(lambda: set(logged_texts()) == set(urls), what=lambda: service.output)
        texts = logged_texts()
        assert texts["certificate_expired"] == "certificate has expired"
        assert "certificate is not valid for 'localhost'" in (texts["certificate_other_name"] or "")
        assert texts["not_resolved"]
        for name in flows:
            assert await amqp.depth(dead_queue(name)) == 0
        assert not service.tracebacks


async def test_check_judges_a_target_as_a_processor_would_reach_it(
    broker_url: str, flow: str, urls: dict[str, str]
) -> None:
    """Reproduced on 0.1.0: `check` was content with a TLS port at http://."""
    words = {f"{flow}x{number}": word for number, word in enumerate(urls)}
    settings = {f"FLOWS__{name.upper()}__TARGET__URL": urls[word] for name, word in words.items()}
    ended = await Command(broker_url=broker_url, flow=flow)("check", "--timeout", "5", **settings)
    lines = {line.split(":")[0].split()[-1]: line for line in ended.stdout.splitlines() if "target of" in line}
    assert {name: word for name, word in words.items() if word not in lines[name]} == {}, ended.stdout


async def reset(_: RawRequest, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
async def test_a_dead_letter_keeps_the_word_and_dead_show_explains_it(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, client: str
) -> None:
    await amqp.declare_flow(flow)
    async with RawTarget(reset) as target:
        service = processor(
            broker_url, flow=flow, target_url=target.url, TARGET__MAX_ATTEMPTS="1", TARGET__CLIENT=client
        )
        with service.process:
            await service.ready(http)
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("e-1"))

            async def is_dead() -> bool:
                return await amqp.depth(dead_queue(flow)) == 1

            await eventually(is_dead, what="the event given up")
    shown = await Command(broker_url=broker_url, flow=flow)("dead", "show", "e-1")
    assert "reset: the connection was reset" in shown.stdout
    [letter] = await amqp.drain(dead_queue(flow))
    assert (letter.headers["eventflow-reason"], letter.headers["eventflow-detail"]) == ("connection", "reset")


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
async def test_a_refusal_of_plain_http_by_a_tls_port_burns_no_event(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, client: str
) -> None:
    """nginx, Go and Apache answer 400 to plain HTTP on a TLS port: it is the URL that is wrong, not the event."""

    async def refuse(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(NGINX)

    await amqp.declare_flow(flow)
    async with RawTarget(refuse) as target:
        service = processor(
            broker_url, flow=flow, target_url=target.url, TARGET__MAX_ATTEMPTS="1", TARGET__CLIENT=client
        )
        with service.process:
            await service.ready(http)
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("e-1"))
            await eventually(lambda: len(target.requests) > 1, what=lambda: f"another attempt\n{service.output}")
            assert {request.attempt for request in target.requests} == {1}
            assert await amqp.depth(dead_queue(flow)) == 0
            await eventually(lambda: "plain_on_tls_port" in service.output, what="the line of the attempt")


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
async def test_the_words_of_a_target_are_kept_everywhere_and_neither_its_headers_nor_our_secrets(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, client: str
) -> None:
    """An operator found `client_error, HTTP 422` and no word of the target, which had named the wrong field."""
    body = b'{"errors": {"sku": ["is\ttaken"]}, "sent": "Bearer t0ps3cret"}'
    text = r'{"errors": {"sku": ["is\ttaken"]}, "sent": "***"}'

    async def refuse(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 422 No\r\nSet-Cookie: session=of-the-target\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)

    await amqp.declare_flow(flow)
    async with RawTarget(refuse) as target:
        service = processor(
            broker_url,
            flow=flow,
            target_url=target.url,
            TARGET__MAX_ATTEMPTS="1",
            TARGET__CLIENT=client,
            TARGET__HEADERS='{"Authorization": "Bearer t0ps3cret"}',
        )
        with service.process:
            await service.ready(http)
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("e-1"))

            async def is_dead() -> bool:
                return await amqp.depth(dead_queue(flow)) == 1

            await eventually(is_dead, what="the event given up")
            command = Command(broker_url=broker_url, flow=flow)
            why = (await command("why", "e-1")).stdout
            [line] = await service.logs("delivery.attempted")
            assert (line["reason"], line["status"], line["text"]) == ("client_error", 422, text)
            output = service.output
    assert why.count(f'client_error, HTTP 422, "{text}"') == 2, why  # by the processor, and in the dead queue
    shown = (await command("dead", "show", "e-1")).stdout
    exported = (await command("dead", "export")).stdout
    [letter] = await amqp.drain(dead_queue(flow))
    assert letter.headers["eventflow-text"] == text
    assert text in shown
    for told in (why, shown, exported, output, str(letter.headers)):
        assert "t0ps3cret" not in told
        assert "of-the-target" not in told


async def test_why_gives_the_reason_of_an_attempt_that_does_not_count(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.declare_flow(flow, (600.0,))
    settings = {"TARGET__RETRY_DELAYS_S": "600"}
    service = processor(broker_url, flow=flow, target_url=f"http://127.0.0.1:{free_port()}/", **settings)
    with service.process:
        await service.ready(http)
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("e-1"))
        await service.counts(http, "eventflow_attempts_failed_total", 1)
        why = (await Command(broker_url=broker_url, flow=flow)("why", "e-1", **settings)).stdout
    assert "did not count and waits for 600 s from then on: connection" in why
    assert "no_listener: nothing listens on its port" in why
