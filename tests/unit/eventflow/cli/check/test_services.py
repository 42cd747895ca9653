"""The readiness of a service as `eventflow check` judges it."""

import asyncio
import json
from typing import Any

import pytest

from eventflow.cli.check.finding import Verdict
from eventflow.cli.check.services import check_services, judged, judged_flows
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


DOWN = {"state": "down", "for_s": 4.0, "failure": {"reason": "server_error", "status": 500, "text": "no\x1bdisk"}}
BLOCKED = {"state": "blocked", "status": 401, "failure": {"reason": "client_error", "status": 401}}


@pytest.mark.parametrize(
    ("report", "verdicts", "found"),
    [
        ({"is_paused": False, "target": {"state": "up"}}, [], ""),
        ({"is_paused": True, "paused_by": "ann@h"}, [Verdict.WARNING], "paused by ann@h"),
        (
            {"target": DOWN},
            [Verdict.PROBLEM],
            'the target is down: server_error, HTTP 500, "no\\x1bdisk"',
        ),
        ({"target": {"state": "down"}}, [Verdict.PROBLEM], "the target is down"),
        ({"target": BLOCKED}, [Verdict.PROBLEM], "the target refuses every event: client_error, HTTP 401"),
        ({"is_paused": True, "target": DOWN}, [Verdict.WARNING, Verdict.PROBLEM], "paused by an unknown operator"),
        ({"target": {"state": 5}}, [], ""),
        ("of another version", [], ""),
    ],
)
def test_a_flow_that_its_target_or_an_operator_holds_up_is_found(
    report: object, verdicts: list[Verdict], found: str
) -> None:
    readiness = {"ready": True, "flows": {"orders": report, "other": {"is_paused": True}}}
    findings = list(judged_flows(readiness, ["orders", "unknown"]))
    assert [finding.verdict for finding in findings] == verdicts
    assert {finding.subject for finding in findings} <= {"flow orders"}
    assert not findings or findings[0].found == found


def test_a_service_of_an_older_version_has_no_flows() -> None:
    assert not list(judged_flows({"ready": True}, ["orders"]))
    assert not list(judged_flows({"ready": True, "flows": []}, ["orders"]))


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
        found = await check_services(Settings.model_validate({"collector": admin, "processor": admin}), ["orders"])
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.OK]


async def test_console_and_relay_are_asked_only_if_they_have_settings() -> None:
    closed = {"admin_host": "127.0.0.1", "admin_port": 1}
    services = {"collector": closed, "processor": closed}
    assert len(await check_services(Settings.model_validate(services), [])) == 2
    found = await check_services(Settings.model_validate({**services, "console": closed, "relay": closed}), [])
    assert [finding.subject for finding in found] == [
        f"{service} at 127.0.0.1:1" for service in ("collector", "processor", "console", "relay")
    ]
