"""The readiness of a service as `eventflow check` judges it."""

from typing import Any

import pytest

from eventflow.cli.check.finding import Verdict
from eventflow.cli.check.services import judged


@pytest.mark.parametrize(
    ("readiness", "verdict", "found"),
    [
        ({"ready": True, "broker": "up", "spooling": False}, Verdict.OK, "ready: broker up"),
        ({"ready": False, "broker": "down"}, Verdict.PROBLEM, "not ready: broker down"),
        (
            {"ready": False, "consuming": {"a": False}, "blocked": {}, "standstill": {"a": "quota\x1b"}},
            Verdict.PROBLEM,
            'not ready: consuming {"a": false}, standstill {"a": "quota\\u001b"}',
        ),
        ({"ready": "yes"}, Verdict.PROBLEM, "not ready"),
    ],
)
def test_a_service_that_is_not_ready_is_a_problem(readiness: dict[str, Any], verdict: Verdict, found: str) -> None:
    finding = judged("collector at h:1", readiness)
    assert (finding.verdict, finding.found) == (verdict, found)
