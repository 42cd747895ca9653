"""The readiness of a service as `eventflow check` judges it."""

import asyncio
import json
from typing import Any

import pytest

from eventflow.cli.check.finding import Verdict
from eventflow.cli.check.services import check_services, judged
from eventflow.settings.root import Settings


@pytest.mark.parametrize(
    ("readiness", "verdict", "found"),
    [
        (
            {"ready": True, "broker": "up", "spooling": False, "consuming": {"a": True}},
            Verdict.OK,
            "ready: broker up",
        ),
        ({"ready": False, "broker": "down"}, Verdict.PROBLEM, "not ready: broker down"),
        (
            {"ready": False, "consuming": {"a": False}, "blocked": {}, "standstill": {"a": "quota\x1b"}},
            Verdict.PROBLEM,
            'not ready: consuming {"a": false}, standstill {"a": "quota\\u001b"}',
        ),
        (
            {"ready": False, "control": "down", "obstacles": ["no broker", "a\\nb"]},
            Verdict.PROBLEM,
            "not ready: no broker, a\\nb",
        ),
        ({"ready": "yes"}, Verdict.PROBLEM, "not ready"),
    ],
)
def test_a_service_that_is_not_ready_is_a_problem(readiness: dict[str, Any], verdict: Verdict, found: str) -> None:
    finding = judged("collector at h:1", readiness)
    assert (finding.verdict, finding.found) == (verdict, found)


async def test_an_answer_that_arrives_in_parts_is_read_to_its_end() -> None:
    body = json.dumps({"ready": True, "version": "1", "flows": "x" * 100_000}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:10]))
        await asyncio.sleep(0.05)
        writer.write(body[10:])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        admin = {"admin_port": server.sockets[0].getsockname()[1]}
        found = await check_services(Settings.model_validate({"collector": admin, "processor": admin}))
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.OK]
