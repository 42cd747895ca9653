"""The plan, the bodies and the report of the emulated source."""

import json
from pathlib import Path

import pytest

from eventflow.cli.run_file import RunFile
from sandbox.source.__main__ import explained_peak
from sandbox.source.bodies import SAMPLES, read_directory, read_file
from sandbox.source.sending import Plan, Report, Sent


def sent(event_id: str, *, problem: str = "", latency_s: float = 0.01) -> Sent:
    status = 202 if not problem else 503
    return Sent(event_id=event_id, body="b", status=status, problem=problem, latency_s=latency_s, late_s=0.0)


def test_events_are_due_at_the_rate() -> None:
    plan = Plan(url="http://x/events", count=4, rate_per_s=10)
    assert [plan.due_s(index) for index in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_bursts_are_due_at_one_moment_and_keep_the_rate() -> None:
    plan = Plan(url="http://x/events", count=6, rate_per_s=10, burst=3)
    assert [plan.due_s(index) for index in range(7)] == pytest.approx([0, 0, 0, 0.3, 0.3, 0.3, 0.6])


def test_a_flow_has_its_own_address() -> None:
    assert Plan(url="http://x/events", count=1).flow_url == "http://x/events"
    assert Plan(url="http://x/events/", count=1, flow="orders").flow_url == "http://x/events/orders"


def test_report_tells_accepted_from_refused() -> None:
    report = Report(sent=[sent("a"), sent("b", problem="503 full"), sent("c")], duration_s=1.0)
    assert report.accepted_ids == {"a", "c"}
    assert report.refused_ids == {"b"}
    assert report.problems == {"503 full": 1}


def test_quantiles_are_latencies_that_were_seen() -> None:
    report = Report(sent=[sent(str(n), latency_s=n / 1000) for n in range(1, 101)], duration_s=1.0)
    assert report.latency_s(0.5) == pytest.approx(0.051)
    assert report.latency_s(1.0) == pytest.approx(0.1)


def test_every_sample_is_json_and_told_apart_by_its_name() -> None:
    bodies = {body.name: body for body in read_directory(SAMPLES)}
    assert len(bodies) >= 6
    for body in bodies.values():
        json.loads(body.content)
    assert bodies["push.github.json"].headers == {"X-GitHub-Event": "push"}
    assert bodies["orders-create.shopify.json"].headers == {"X-Shopify-Topic": "orders/create"}
    assert set(json.loads(bodies["inventory-updated.json"].content)) == {"id", "name", "body", "timestamp"}


def test_github_event_is_the_first_part_of_a_payload_files_name(tmp_path: Path) -> None:
    path = tmp_path / "check_run.completed.payload.json"
    path.write_bytes(b"{}\n")
    body = read_file(path)
    assert body.headers == {"X-GitHub-Event": "check_run"}
    assert body.content == b"{}\n"


def test_an_empty_folder_of_bodies_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \*\.json"):
        read_directory(tmp_path)


@pytest.mark.parametrize("text", [None, "", "[]", '{"pid": 1}', "{"])
def test_without_a_readable_run_file_nothing_runs(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text)
    assert RunFile.read(path) is None


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        (
            {"rate": 50.0, "burst": 15.0},
            {"EVENTFLOW_TARGET__RATE_PER_S": "50", "EVENTFLOW_TARGET__BURST": "10"},
            "59 (50/s and a burst of 10 allow 60)",
        ),
        ({"rate": 50.0, "burst": 15.0}, {}, "59 (50/s and a burst of 15 allow 65)"),
        ({"rate": 0.0, "burst": 15.0}, {}, "59 (no limit)"),
    ],
)
def test_a_peak_above_the_rate_is_explained_by_the_burst(
    target: dict[str, float], settings: dict[str, str], words: str
) -> None:
    assert explained_peak(59, target, settings) == words
