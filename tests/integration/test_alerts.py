"""The alerts as their own tools see them, and what a person finds behind each."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess
from tests.support.prometheus import ALERTS, CONFIGURATION, DEPLOY, alert_rules, program, run
from tests.support.wait import eventually

OPERATIONS = DEPLOY.parent / "docs" / "operations.md"


def test_prometheus_takes_the_configuration_and_the_alerts() -> None:
    run("promtool", "check", "config", CONFIGURATION.name, cwd=CONFIGURATION.parent)
    run("promtool", "check", "rules", "--lint-fatal", ALERTS.name, cwd=ALERTS.parent)


def test_alertmanager_takes_its_configuration() -> None:
    run("amtool", "check-config", "alertmanager.yml", cwd=DEPLOY / "alertmanager")


async def test_the_examples_of_receivers_notify_slack_and_pagerduty(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    received: dict[str, list[str]] = {"/slack": [], "/pagerduty": []}

    async def receive(request: web.Request) -> web.Response:
        received[request.path].append(await request.text())
        return web.json_response({"status": "success"}, status=202 if request.path == "/pagerduty" else 200)

    app = web.Application()
    app.add_routes([web.post(path, receive) for path in received])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    receivers = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    configuration = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    route = configuration["route"]
    route.update(receiver="slack", group_wait="0s")
    route["routes"][0]["receiver"] = "pagerduty"
    _, slack, pagerduty = configuration["receivers"]
    for receiver, kind, file, secret in (
        (slack, "slack_configs", "api_url_file", f"{receivers}/slack"),
        (pagerduty, "pagerduty_configs", "routing_key_file", "key-of-the-service"),
    ):
        (tmp_path / file).write_text(secret)
        receiver[kind][0][file] = str(tmp_path / file)
    pagerduty["pagerduty_configs"][0]["url"] = f"{receivers}/pagerduty"
    (tmp_path / "alertmanager.yml").write_text(json.dumps(configuration))
    port = free_port()
    alertmanager = ChildProcess(
        "alertmanager",
        [
            program("prometheus-alertmanager"),
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--cluster.listen-address=",
        ],
    )
    alerts = [
        {
            "labels": {"alertname": name, "flow": "orders", "severity": severity},
            "annotations": {"summary": f"{name} happened: act.", "runbook": f"docs/operations.md#{name.lower()}"},
        }
        for name, severity in (("EventFlowThrottled", "warning"), ("EventFlowNoProcessors", "critical"))
    ]

    async def posted() -> bool:
        try:
            async with http.post(f"http://{LOOPBACK}:{port}/api/v2/alerts", json=alerts) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    alertmanager.start()
    try:
        await eventually(posted, what=lambda: alertmanager.explain("Alertmanager takes no alert"))
        await eventually(lambda: all(received.values()), what=lambda: f"{received} {alertmanager.tail()}")
    finally:
        await asyncio.to_thread(alertmanager.stop)
        await runner.cleanup()
    [to_slack] = json.loads(received["/slack"][0])["attachments"]
    assert to_slack["title"] == "FIRING: EventFlowThrottled, flow orders"
    assert "EventFlowThrottled happened: act." in to_slack["text"]
    assert "docs/operations.md#eventflowthrottled" in to_slack["text"]
    to_pagerduty = json.loads(received["/pagerduty"][0])
    assert to_pagerduty["routing_key"] == "key-of-the-service"
    assert to_pagerduty["payload"]["severity"] == "critical"
    assert to_pagerduty["payload"]["summary"] == "EventFlowNoProcessors: EventFlowNoProcessors happened: act."


def test_alerts_fire_when_they_should_and_only_then() -> None:
    run("promtool", "test", "rules", "alerts_test.yaml", cwd=ALERTS.parent)


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    cases = yaml.safe_load((ALERTS.parent / "alerts_test.yaml").read_text())["tests"]
    tested = {
        (re.search(r'alertname="(\w+)"', test["expr"])[1], bool(test["exp_samples"]))
        for case in cases
        for test in case["promql_expr_test"]
    }
    assert tested == {(rule["alert"], fires) for rule in alert_rules() for fires in (True, False)}


def test_every_alert_says_what_to_do_and_leads_to_its_section() -> None:
    headings = {line.strip("# ").lower() for line in OPERATIONS.read_text().splitlines() if line.startswith("#")}
    for rule in alert_rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert ": " in rule["annotations"]["summary"] or ". " in rule["annotations"]["summary"], "what is the case: do"
        file, anchor = rule["annotations"]["runbook"].split("#")
        assert file == "docs/operations.md"
        assert anchor == rule["alert"].lower()
        assert anchor in headings, f"docs/operations.md has no section {rule['alert']}"
