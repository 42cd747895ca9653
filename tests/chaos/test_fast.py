"""Part of the chaos suite for every `make test`: kills, a missing queue, and a handler.

Only the whole suite limits the duplicates: with so few events, a single kill repeats too large a share. Only it limits
an answer to 5 s, too: here other tests run on the same cores, so only a request that hangs is an error.
"""

import math
from dataclasses import replace
from functools import partial

import pytest

from sandbox.broker.node import PrivateNode
from tests.chaos import report
from tests.chaos.faults import broker, kills
from tests.chaos.handlers import harness as handlers_harness
from tests.chaos.handlers.faults import transactions
from tests.chaos.harness import run
from tests.chaos.scenario import Scenario

pytestmark = pytest.mark.timed  # each kills its own broker and services under load, and needs the cores for this

HANGS_S = 12.0
"""A request that takes longer hangs. The client of the load gives up after 15 s."""

FAST = (
    replace(kills.EVERYTHING_KILLED, at_least=1000, duplicates_max=math.inf, answer_max_s=HANGS_S),
    replace(broker.EVENTS_QUEUE_DELETED, at_least=0, answer_max_s=HANGS_S),
)


@pytest.mark.parametrize("scenario", FAST, ids=lambda scenario: scenario.name)
async def test_nothing_is_lost(scenario: Scenario, node: PrivateNode, seed: int) -> None:
    done = await run(scenario, node, seed=seed)
    print(report.line(done))
    assert done.passed, "\n".join([str(done.verdict), *done.problems])


async def test_each_event_takes_effect_once(node: PrivateNode, seed: int) -> None:
    fault = partial(transactions.killed_between_write_and_commit, times=1)
    scenario = replace(transactions.BETWEEN_WRITE_AND_COMMIT, fault=fault, at_least=0)
    done = await handlers_harness.run(scenario, node, seed=seed)
    print(report.line(done))
    assert done.passed, "\n".join([str(done.verdict), *done.problems])
