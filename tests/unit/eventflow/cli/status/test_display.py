"""The status as a document and as text."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from eventflow.cli.status.display import delayed, shown_of
from eventflow.control.reports import FailureCause, ProcessorReport, RateReport, TargetReport
from eventflow.operations.status.document import document_of
from eventflow.operations.status.flow import FlowStatus, Orders, RetryStatus
from eventflow.operations.status.look import Status
from eventflow.operations.status.services import Service
from eventflow.operations.status.spool import SpoolStatus
from eventflow.topology import Lane

AT = datetime(2026, 1, 2, 3, 14, 5, tzinfo=UTC)
LANES: dict[Lane, int | None] = {Lane.LIVE: 0, Lane.DUE: 0, Lane.REPLAY: 0}
RETRIES = (RetryStatus(delay_s=0.5, events=3, configured=True), RetryStatus(delay_s=9, events=0, configured=False))


def text_of(status: Status, *, columns: int = 100) -> str:
    console = Console(width=columns, record=True, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(shown_of(status))
    return captured.get()


def flow(**changes: Any) -> FlowStatus:
    defaults: dict[str, Any] = {"flow": "blue", "lanes": LANES, "processors": 1, "dead": 0, "configured_per_s": 50.0}
    return FlowStatus(**(defaults | changes))


def report(**changes: Any) -> ProcessorReport:
    rate = RateReport(now_per_s=50.0, configured_per_s=50.0, share_per_s=50.0, cost=1.0)
    defaults: dict[str, Any] = {
        "is_ready": True,
        "held": 0,
        "in_flight": 0,
        "is_paused": False,
        "throttled_s": 0.0,
        "target": TargetReport(state="up"),
        "rate": rate,
        "eta_s": 0.0,
    }
    return ProcessorReport(**(defaults | changes))


def test_a_paused_flow_shows_when_and_by_whom_and_what_processors_hold() -> None:
    paused = flow(
        reports={"eventflow-processor@vm:7:ab": report(held=12, is_paused=True, eta_s=0.0)},
        orders=Orders(is_paused=True, paused_at="2026-01-02T03:04:05.000Z", paused_by="ann@vm", rate_per_s=5.0),
        retries=RETRIES,
    )
    text = text_of(Status(at=AT, flows=[paused]))
    assert [" ".join(line.split()) for line in text.splitlines()[:7]] == [
        "blue paused",
        "paused 2026-01-02 03:04:05 UTC, 10 min ago, by ann@vm",
        "waiting 12: 0 live, 0 due, 0 replay, 12 held",
        "delayed 3 in 0.5 s, 0 in 9 s (old)",
        "dead 0",
        "rate 5/s ordered, 50/s configured, 50/s now",
        "ETA never: paused",
    ]
    document = document_of(Status(at=AT, flows=[paused]))["flows"]["blue"]
    assert (document["state"], document["waiting"], document["held"]) == ("paused", 12, 12)
    assert document["drain"]["eta_s"] is None
    assert document["paused_by"] == "ann@vm"


def test_a_target_that_is_down_shows_the_latest_failure() -> None:
    failure = FailureCause(reason="connection", detail="no_listener", text="Connect call failed")
    down = flow(
        reports={
            "a": report(target=TargetReport(state="down", for_s=200.0)),
            "b": report(target=TargetReport(state="down", for_s=190.0, failure=failure)),
        },
        processors=2,
        orders=Orders(is_paused=False),
    )
    text = text_of(Status(at=AT, flows=[down]), columns=200)
    assert "blue  target down" in text
    assert 'is down for 3 min: connection, no_listener: nothing listens on its port, "Connect call failed"' in text
    assert "never: target down" in text


def test_a_throttled_flow_shows_until_when() -> None:
    throttled = flow(reports={"a": report(held=3, throttled_s=90.0)}, orders=Orders(is_paused=False))
    text = text_of(Status(at=AT, flows=[throttled]), columns=200)
    assert "blue  throttled" in text
    assert "until 2026-01-02 03:15:35 UTC, 90 s from now, because the target asked for it" in text


def test_no_report_can_command_the_terminal_or_end_the_command() -> None:
    forged = "\x1b]0;title\x07"
    status = Status(
        at=AT,
        flows=[flow(reports={forged: report(throttled_s=1e300, blocked_by=forged)})],
        services=[Service(kind="collector", name=forged, instance=forged, ready=None, notes=(forged,))],
    )
    text = text_of(status)
    assert "throttled  until 2026-01-03 03:14:05 UTC" in " ".join(text.split("   "))
    assert "\x1b" not in text
    json.dumps(document_of(status))


def test_a_processor_that_does_not_consume_answers_for_no_other_one() -> None:
    one = flow(processors=1, reports={"a": report(is_consuming=False)}, orders=Orders(is_paused=False))
    assert "1 of 1 processors did not answer" in text_of(Status(at=AT, flows=[one]))


def test_what_no_service_has_reported_is_unknown_and_never_0() -> None:
    """A processor of an older version does not answer."""
    silent = flow(processors=2, reports={"a": report(held=3)}, orders=Orders(is_paused=False))
    assert "at least 0: 0 live, 0 due, 0 replay, unknown held" in text_of(Status(at=AT, flows=[silent]))
    assert "1 of 2 processors did not answer" in text_of(Status(at=AT, flows=[silent]))
    unknown = flow(processors=1)
    document = document_of(Status(at=AT, flows=[unknown]))["flows"]["blue"]
    assert (document["state"], document["held"], document["waiting"], document["drain"]) == (
        "unknown",
        None,
        None,
        None,
    )
    empty = flow(processors=1, reports={"a": ProcessorReport()})
    document = document_of(Status(at=AT, flows=[empty]))["flows"]["blue"]
    assert (document["held"], document["paused"], document["drain"]) == (None, None, None)


def test_a_queue_that_does_not_exist_is_null() -> None:
    lanes = {Lane.LIVE: None, Lane.DUE: None, Lane.REPLAY: None}
    missing = flow(lanes=lanes, processors=None, dead=None)
    document = document_of(Status(at=AT, flows=[missing]))["flows"]["blue"]
    assert (document["backlog"], document["waiting"], document["dead"]) == (
        dict.fromkeys(document["backlog"]),
        None,
        None,
    )


def test_nothing_is_wider_than_60_columns() -> None:
    failure = FailureCause(reason="client_error", status=422, text='{"errors": "' + "x" * 300 + '"}')
    wide = flow(
        reports={
            "a": report(held=12_000, target=TargetReport(state="blocked", status=401, for_s=9.0, failure=failure))
        },
        retries=tuple(
            RetryStatus(delay_s=delay_s, events=1000, configured=True) for delay_s in (1, 5, 30, 120, 600, 3600)
        ),
    )
    services = [
        Service(kind="processor", name="a-host-with-a-long-name:12345", instance="i", ready=False, notes=("why " * 20,))
    ]
    spool = SpoolStatus(events=7, set_aside=1, size_bytes=3400, oldest_s=7.0, failing=True)
    text = text_of(Status(at=AT, flows=[wide], services=services, spool=spool), columns=60)
    assert max(map(len, text.splitlines())) <= 60
    assert "x" * 30 in text


@pytest.mark.parametrize(("retries", "words"), [((), "0"), (RETRIES, "3 in 0.5 s, 0 in 9 s (old)")])
def test_delayed_events_are_shown_by_their_delay(retries: tuple[RetryStatus, ...], words: str) -> None:
    assert delayed(retries) == words
