"""The log lines of a service on standard output: one pipeline for ours and those of libraries."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging, structlog, sys
from eventflow.telemetry import logging as ours
ours.configure(service="eventflow-test", log_format=sys.argv[1], level="info")
log = structlog.stdlib.get_logger()
with structlog.contextvars.bound_contextvars(trace_id="4bf9", event_id="e-1"):
    log.warning("event.unconfirmed", api_key="k-1", X_Authorization="Bearer b-1", flow="default")
log.debug("delivery.attempted")
try:
    raise ConnectionError("cannot connect to amqp://user:pw-1@broker:5672/")
except ConnectionError:
    log.exception("attempt.crashed")
logging.getLogger("aiohttp.server").error("Error handling request from %s", "amqps://me:pw-2@host/")
logging.getLogger("aio_pika.connection").warning("noise")
logging.getLogger("urllib3.connectionpool").warning("Retrying after connection broken: /path-1/v1/traces")
logging.getLogger("elsewhere").log(25, "at a level of its own")
"""


def written(log_format: str) -> str:
    command = [sys.executable, "-c", PROGRAM, log_format]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert ended.stderr == ""
    return ended.stdout


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_json_with_severity_and_the_ids_that_are_bound_and_without_secrets() -> None:
    text = written("json")
    unconfirmed, crashed, foreign, odd = parsed(text)
    assert not [secret for secret in ("k-1", "b-1", "pw-1", "pw-2", "path-1") if secret in text]
    assert unconfirmed["event"] == "event.unconfirmed"
    assert (unconfirmed["trace_id"], unconfirmed["event_id"], unconfirmed["flow"]) == ("4bf9", "e-1", "default")
    assert unconfirmed["api_key"] == unconfirmed["X_Authorization"] == "(hidden)"
    lines = (unconfirmed, crashed, foreign, odd)
    assert [line["severity_number"] for line in lines] == [13, 17, 17, 0]
    assert {line["service"] for line in lines} == {"eventflow-test"}
    assert "amqp://user:***@broker" in crashed["exception"]
    assert foreign["event"] == "Error handling request from amqps://me:***@host/"
    assert "trace_id" not in foreign


def test_a_line_begins_with_its_time_its_level_and_its_event() -> None:
    assert {tuple(line)[:3] for line in parsed(written("json"))} == {("timestamp", "level", "event")}


def test_a_line_for_people_has_no_field_that_is_the_same_on_every_line() -> None:
    lines = written("console")
    assert "event.unconfirmed" in lines
    assert "severity_number" not in lines
    assert "eventflow-test" not in lines
    assert not [secret for secret in ("k-1", "b-1", "pw-1", "pw-2", "path-1") if secret in lines]
