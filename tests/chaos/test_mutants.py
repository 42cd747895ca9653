"""Proof that the checker can fail: a service that is broken on purpose loses events, and the checker finds them.

The whole suite runs all such services; this test runs the fastest.
"""

import pytest

from sandbox.broker.node import PrivateNode
from tests.chaos import report
from tests.chaos.catalogue import MUTANTS
from tests.chaos.harness import run
from tests.chaos.scenario import Scenario

pytestmark = pytest.mark.timed  # an answer may take 5 s, which a machine with more tests than cores exceeds


@pytest.mark.parametrize("mutant", MUTANTS[-1:], ids=lambda mutant: mutant.name)
async def test_the_checker_finds_the_loss(mutant: Scenario, node: PrivateNode, seed: int) -> None:
    done = await run(mutant, node, seed=seed)
    print(report.line(done))
    assert done.verdict.lost
    assert not done.verdict.unexpected
