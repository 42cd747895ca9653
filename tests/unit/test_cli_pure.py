"""What the operator's command decides without a broker."""

import json
import math
import os
import socket
import ssl
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from eventflow.amqp.browser import Browsed
from eventflow.cli import app, reference
from eventflow.cli.check import Verdict, leftover
from eventflow.cli.check import reason_of as reason_of_failure
from eventflow.cli.console import printable
from eventflow.cli.dead_letters import Selection, facts_of, reason_of, record_of, share_of, shown_body, shown_reason
from eventflow.cli.eta import DrainStatus, drains_of
from eventflow.cli.eta import in_words as drain_in_words
from eventflow.cli.options import flows_of, one_flow_of
from eventflow.cli.overrides import rate_of
from eventflow.cli.retries import guessed_management_url, leftovers_among
from eventflow.cli.scrape import parsed
from eventflow.cli.spool import SpoolStatus, in_words, spool_of
from eventflow.cli.status import FlowStatus, RetryStatus, document_of, waiting
from eventflow.cli.troubles import troubles_of
from eventflow.message import Envelope
from eventflow.settings.load import load
from eventflow.settings.root import FlowSettings, Settings
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane
from tests.support.cli import dead_letter

CONFIGURATION = Path(__file__).parents[2] / "docs" / "configuration.md"


def held(envelope: Envelope, headers: dict[str, Any] | None = None) -> Browsed:
    return Browsed(envelope=envelope, headers=headers or {}, redelivered=False, tag=1)


def settings(*flows: str, with_default: bool = False) -> Settings:
    return Settings.model_construct(
        flows={name: FlowSettings() for name in flows}, target=TargetSettings() if with_default else None, source=None
    )


@pytest.mark.parametrize("text", ["1e-9", "0", "-1", "nan", "1e7", "fast"])
def test_a_rate_that_no_flow_can_mean_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"0\.00001"):
        rate_of(text)


def test_the_reference_in_docs_is_the_generated_one() -> None:
    assert CONFIGURATION.read_text(encoding="utf-8") == reference.as_markdown(), (
        "run: eventflow settings --markdown > docs/configuration.md"
    )


def test_the_reference_names_every_setting_and_marks_secrets() -> None:
    rows = {
        setting.variable: setting
        for name, section in reference.sections().items()
        for setting in reference.settings_in(name, section)
    }
    assert rows["EVENTFLOW_TARGET__RETRY_DELAYS_S"].default == "1,5,30,120,600,3600"
    assert rows["EVENTFLOW_COLLECTOR__PORT"].accepted == "whole number from 0 to 65535"
    assert rows["EVENTFLOW_SOURCE__ALLOW_UNAUTHENTICATED"].default == "false"
    assert rows["EVENTFLOW_TARGET__RATE_PER_S"].default == ""
    assert {name for name, row in rows.items() if row.secret} >= {
        "EVENTFLOW_BROKER__URL",
        "EVENTFLOW_SOURCE__API_KEYS",
        "EVENTFLOW_TARGET__HEADERS",
    }
    assert all(row.meaning and row.accepted for row in rows.values())


def test_the_example_in_the_reference_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "eventflow.toml"
    file.write_text(reference.EXAMPLE)
    assert tomllib.loads(reference.EXAMPLE)
    assert list(load(file).all_flows) == ["default", "orders"]


def test_version_and_wrong_usage() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).output.startswith("eventflow ")
    assert runner.invoke(app, ["status", "--watch", "--json"]).exit_code == 2
    assert runner.invoke(app, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("before", [True, False])
def test_config_is_read_before_and_behind_the_command(tmp_path: Path, before: bool) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[flows.blue.target]\nretry_delays_s = [7]\n")
    option = ["--config", str(file)]
    arguments = [*option, "topology", "--dry-run"] if before else ["topology", "--dry-run", *option]
    assert "eventflow.blue.retry.7000" in CliRunner().invoke(app, arguments).output


def test_a_selection_is_an_id_a_reason_or_all() -> None:
    letter = held(dead_letter("a", reason="timeout"))
    assert Selection().has(letter)
    assert Selection(id="a").has(letter)
    assert Selection(reason="timeout").has(letter)
    assert not Selection(id="b").has(letter)
    assert not Selection(reason="redirect").has(letter)


def test_the_reason_is_ours_else_the_brokers_else_unknown() -> None:
    foreign = Envelope(event=dead_letter("a").event)
    assert reason_of(held(dead_letter("a", reason="timeout"), {"x-first-death-reason": "expired"})) == "timeout"
    rejected = {"x-death": [{"reason": "rejected", "queue": "eventflow.f.events"}]}
    assert reason_of(held(dead_letter("a", reason="timeout"), rejected)) == "too_large"
    assert reason_of(held(foreign, rejected)) == "too_large"
    assert reason_of(held(foreign, {"x-first-death-reason": "maxlen"})) == "maxlen"
    deaths = [{"reason": "rejected", "queue": "q"}, {"reason": "expired", "queue": "r"}]
    retried = held(dead_letter("a", reason="timeout"), {"x-first-death-reason": "expired", "x-death": deaths})
    assert reason_of(retried) == "too_large", "after a retry queue, whose copies expire"
    assert reason_of(held(foreign, {"x-death": ["nonsense"]})) == "unknown"
    assert reason_of(held(foreign)) == "unknown"
    assert record_of(held(foreign))["last_failed_at"] is None
    assert "last status" not in dict(facts_of(held(foreign)))


def test_a_letter_that_the_broker_moved_is_given_up_by_it_even_if_attempts_failed_before() -> None:
    """Reproduced on 0.1.0: a retry that expired in a lane, under a policy, was shown as `timeout`."""
    deaths = [
        {"reason": "expired", "queue": "eventflow.a.due"},
        {"reason": "expired", "queue": "eventflow.a.retry.500"},
    ]
    letter = held(dead_letter("a", reason="timeout"), {"x-death": deaths, "x-first-death-reason": "expired"})
    assert reason_of(letter) == "expired"
    assert shown_reason(letter) == "expired (RabbitMQ)"
    assert Selection(reason="expired").has(letter)
    assert dict(facts_of(letter))["given up by"].startswith("RabbitMQ in eventflow.a.due")
    assert record_of(letter)["reason"] == "expired"


@pytest.mark.parametrize("deaths", [None, [], "x", [1], [{}], [{"reason": 1, "queue": "q"}], {"reason": "expired"}])
def test_an_odd_x_death_is_none(deaths: Any) -> None:
    letter = held(dead_letter("a", reason="timeout"), {"x-death": deaths})
    assert shown_reason(letter) == "timeout"
    assert "given up by" not in dict(facts_of(letter))


def test_a_share_holds_at_most_64_mib_of_bodies() -> None:
    assert share_of(1024 * 1024) == 64
    assert share_of(128 * 1024 * 1024) == 1


def test_a_body_is_shown_as_what_it_is_and_cut() -> None:
    assert shown_body(b'{"a":[1]}', full=False) == json.dumps({"a": [1]}, indent=2)
    assert shown_body(b"\xff\x00", full=False) == "ff 00"
    assert shown_body(b"x" * 2500, full=False).endswith("\n... 500 more characters; --full shows all")
    assert shown_body(b"\xff" * 130, full=False).endswith("\n... 2 more bytes; --full shows all")
    assert shown_body(b"x" * 2500, full=True) == "x" * 2500
    assert shown_body(b"[" * 100_000, full=True) == "[" * 100_000


def test_nothing_shown_can_command_a_terminal() -> None:
    assert printable("a\x1b[2J\x9b\n\tb") == "a\\x1b[2J\\x9b\n\tb"
    assert shown_body(b'{"a": "\\u001b]0;x\\u0007\\ud800"}', full=False).isascii()


def test_a_flow_is_chosen_only_where_it_is_obvious() -> None:
    assert one_flow_of(settings("blue"), None) == "blue"
    assert one_flow_of(settings("blue", with_default=True), None) == "default"
    assert flows_of(settings("blue", "red"), None) == ("blue", "red")
    for wrong in (None, "green"):
        with pytest.raises(typer.BadParameter):
            one_flow_of(settings("blue", "red"), wrong)


def test_leftover_retry_queues_are_those_of_our_flows_that_no_setting_names() -> None:
    queues = [
        "eventflow.a.retry.5000",
        "eventflow.a.retry.1000",
        "eventflow.a.retry.500",
        "eventflow.b.retry.1",
        "other",
    ]
    assert leftovers_among(queues, {"a": (1.0,)}) == {"a": (0.5, 5.0)}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://guest:guest@rabbit/", "http://rabbit:15672"),
        ("amqps://u:p@rabbit:5671/ef", "https://rabbit:15671"),
        ("amqp://u:p@[::1]:5699/a%2Fb", "http://[::1]:15699"),
        ("amqp://u:p@rabbit:60000/", None),
    ],
)
def test_where_the_management_api_is_looked_for(url: str, expected: str | None) -> None:
    assert guessed_management_url(url) == expected


def test_a_leftover_queue_is_deleted_only_once_it_is_empty() -> None:
    assert "delete" in leftover("q", 0).advice
    assert "delete" not in leftover("q", 3).advice
    assert leftover("q", 3).verdict is Verdict.WARNING


def test_why_a_target_is_not_reached_is_one_line() -> None:
    assert reason_of_failure(ConnectionRefusedError(111, "Connect call failed ('::1', 9)")) == os.strerror(111)
    assert reason_of_failure(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert reason_of_failure(OSError("Multiple exceptions")) == "Multiple exceptions"
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_message = "self-signed certificate"
    assert "self-signed" in reason_of_failure(untrusted)


def test_the_status_document_says_null_for_what_does_not_exist() -> None:
    retries = (RetryStatus(delay_s=0.5, events=3, configured=True), RetryStatus(delay_s=9, events=0, configured=False))
    lanes = {Lane.LIVE: 1, Lane.DUE: 2, Lane.REPLAY: None}
    drain = DrainStatus(eta_s=math.inf, arrival_per_s=12.0, departure_per_s=10.0)
    status = FlowStatus(flow="blue", lanes=lanes, retries=retries, dead=4, processors=None, drain=drain)
    assert waiting(retries) == "3 in 0.5 s, 0 in 9 s (old)"
    assert document_of([status], None, at="now") == {
        "at": "now",
        "spool": None,
        "troubles": [],
        "flows": {
            "blue": {
                "backlog": {"live": 1, "due": 2, "replay": None},
                "retries": [
                    {"delay_s": 0.5, "events": 3, "configured": True},
                    {"delay_s": 9, "events": 0, "configured": False},
                ],
                "dead": 4,
                "processors": None,
                "drain": {"eta_s": None, "arrival_per_s": 12.0, "departure_per_s": 10.0},
            }
        },
    }


def test_the_spool_is_read_from_the_collectors_metrics() -> None:
    text = "eventflow_spool_events 12.0\neventflow_spool_bytes 3400.0\neventflow_spool_oldest_seconds 7.4\nother 1.0\n"
    spool = spool_of(parsed(text))
    assert spool == SpoolStatus(events=12, set_aside=0, size_bytes=3400, oldest_s=7.4)
    assert in_words(spool) == "In the spool: 12 events, 3.4 kB, the oldest for 7 s."
    assert spool_of([]).events == 0
    aside = "Set aside in the spool: 2 events that are larger than RabbitMQ takes."
    assert in_words(replace(spool, set_aside=2)) == f"{in_words(spool)} {aside}"
    assert in_words(replace(spool, events=0, set_aside=2)) == aside
    failing = spool_of(parsed(text + "eventflow_spool_failing 1.0\n"))
    assert (
        in_words(failing) == f"The disk of the spool fails or does not answer: it can take no event. {in_words(spool)}"
    )


def test_when_the_backlog_is_gone_is_read_from_the_processors_metrics() -> None:
    text = (
        'eventflow_drain_eta_seconds{flow="a"} 840.0\neventflow_drain_eta_seconds{flow="b"} +Inf\n'
        'eventflow_arrival_events_per_second{flow="b"} 12.0\neventflow_departure_events_per_second{flow="b"} 9.96\n'
    )
    drains = drains_of(parsed(text))
    assert {flow: drain_in_words(drain) for flow, drain in drains.items()} == {
        "a": "drains in 14 min",
        "b": "never at this rate: 12/s in, 10/s out",
    }


def test_what_may_have_deleted_events_is_read_from_the_processors_metrics() -> None:
    text = (
        'eventflow_queues_vanished_total{flow="a"} 2.0\neventflow_queues_vanished_total{flow="b"} 0.0\n'
        'eventflow_dangerous_policies{flow="a"} 3.0\n'
    )
    troubles = troubles_of(parsed(text))
    assert list(troubles) == ["a"]
    places = [line.rsplit(": ", 1)[1] for line in troubles["a"]]
    assert places == ["see queue.vanished in its log", "see eventflow check"]


@pytest.mark.parametrize(
    ("eta_s", "words"),
    [
        (0.0, "drained"),
        (0.2, "drains in 1 s"),
        (119, "drains in 119 s"),
        (120, "drains in 2 min"),
        (7300, "drains in 2 h"),
        (200_000, "drains in 2 days"),
    ],
)
def test_a_time_is_told_in_its_own_unit(eta_s: float, words: str) -> None:
    assert drain_in_words(DrainStatus(eta_s=eta_s, arrival_per_s=0, departure_per_s=0)) == words
