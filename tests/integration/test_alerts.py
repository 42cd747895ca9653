"""The alerts as their own tools see them, and what a person finds behind each."""

import re

import yaml

from tests.support.prometheus import ALERTS, CONFIGURATION, DEPLOY, alert_rules, run

OPERATIONS = DEPLOY.parent / "docs" / "operations.md"


def test_prometheus_takes_the_configuration_and_the_alerts() -> None:
    run("promtool", "check", "config", CONFIGURATION.name, cwd=CONFIGURATION.parent)
    run("promtool", "check", "rules", "--lint-fatal", ALERTS.name, cwd=ALERTS.parent)


def test_alertmanager_takes_its_configuration() -> None:
    run("amtool", "check-config", "alertmanager.yml", cwd=DEPLOY / "alertmanager")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    run("promtool", "test", "rules", "alerts_test.yaml", cwd=ALERTS.parent)


def test_every_alert_is_tested_once_firing_and_once_not() -> None:
    cases = yaml.safe_load((ALERTS.parent / "alerts_test.yaml").read_text())["tests"]
    tested = [
        (re.search(r'alertname="(\w+)"', test["expr"])[1], bool(test["exp_samples"]))
        for case in cases
        for test in case["promql_expr_test"]
    ]
    assert sorted(tested) == sorted((rule["alert"], fires) for rule in alert_rules() for fires in (True, False))


def test_every_alert_says_what_to_do_and_leads_to_its_section() -> None:
    headings = {line.strip("# ").lower() for line in OPERATIONS.read_text().splitlines() if line.startswith("#")}
    for rule in alert_rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert ": " in rule["annotations"]["summary"] or ". " in rule["annotations"]["summary"], "what is the case: do"
        file, anchor = rule["annotations"]["runbook"].split("#")
        assert file == "docs/operations.md"
        assert anchor == rule["alert"].lower()
        assert anchor in headings, f"docs/operations.md has no section {rule['alert']}"
