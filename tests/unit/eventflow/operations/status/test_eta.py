"""The time until nothing waits, and its words."""

import math
from typing import Any

import pytest

from eventflow.control.reports import ProcessorReport, RateReport, TargetReport
from eventflow.operations.status.eta import in_words
from eventflow.operations.status.flow import FlowStatus, Orders
from eventflow.operations.status.standing import Drain, Standing, drain_of, standing_of
from eventflow.topology import Lane

SENDING = RateReport(share_per_s=1.0)


def flow(*reports: ProcessorReport, ready: int = 0, processors: int | None = None, **changes: Any) -> FlowStatus:
    return FlowStatus(
        flow="f",
        lanes={Lane.LIVE: ready, Lane.DUE: 0, Lane.REPLAY: 0},
        processors=len(reports) if processors is None else processors,
        reports={str(number): report for number, report in enumerate(reports)},
        **changes,
    )


def report(**changes: Any) -> ProcessorReport:
    return ProcessorReport(**({"held": 0, "eta_s": 0.0, "rate": SENDING, "target": TargetReport(state="up")} | changes))


STOPPED = [
    (flow(report(), orders=Orders(is_paused=True)), Standing.PAUSED),
    (flow(orders=Orders(is_paused=True)), Standing.PAUSED),
    (flow(processors=0), Standing.NO_PROCESSOR),
    (flow(report(), processors=0), Standing.NO_PROCESSOR),
    (flow(report(), report(target=TargetReport(state="blocked"))), Standing.BLOCKED),
    (flow(report(), report(target=TargetReport(state="down"))), Standing.DOWN),
    (flow(report(blocked_by="OSError")), Standing.FAILING),
    (flow(report(rate=RateReport(share_per_s=0.0))), Standing.NOT_SENDING),
]


@pytest.mark.parametrize(("status", "standing"), STOPPED)
@pytest.mark.parametrize("ready", [0, 12])
def test_the_eta_is_never_finite_while_nothing_flows(status: FlowStatus, standing: Standing, ready: int) -> None:
    status.lanes[Lane.LIVE] = ready
    drain = drain_of(status)
    assert standing_of(status) is standing
    assert drain is not None
    assert math.isinf(drain.eta_s)
    assert in_words(drain, standing) == f"never: {standing.value}"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (flow(report()), "nothing waits"),
        (flow(report(held=12)), "in 1 s"),  # the estimate is older than the events
        (flow(report(held=12, eta_s=840.0), report(eta_s=800.0)), "in 14 min"),
        (
            flow(report(held=1, eta_s=math.inf, arrival_per_s=12.0, departure_per_s=9.96)),
            "never at this rate: 12/s in, 10/s out",
        ),
        (flow(report(eta_s=None)), "unknown"),
        (flow(processors=1), "unknown"),
        (flow(report(), processors=2), "in 1 s"),  # the other one may hold some
    ],
)
def test_the_eta_of_a_flow_that_flows_is_that_of_its_processors(status: FlowStatus, words: str) -> None:
    assert in_words(drain_of(status), standing_of(status)) == words


@pytest.mark.parametrize(
    ("eta_s", "words"),
    [(0.2, "in 1 s"), (119, "in 119 s"), (120, "in 2 min"), (7300, "in 2 h"), (200_000, "in 2 days")],
)
def test_a_time_is_shown_in_its_own_unit(eta_s: float, words: str) -> None:
    assert in_words(Drain(eta_s=eta_s), Standing.FLOWING) == words
