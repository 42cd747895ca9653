"""The rate audit with real processors: it finds that they keep one quota, and that broken ones do not."""

import pytest

from benchmarks.rate_audit.cases import UNLIMITED
from benchmarks.rate_audit.figures import Quota
from benchmarks.rate_audit.row import Row
from benchmarks.rate_audit.scenarios import steady
from benchmarks.rate_audit.stage import opened

pytestmark = pytest.mark.timed

QUOTA = Quota(rate_per_s=25)


async def audit(broker_url: str, flow: str, *, module: str, processors: int) -> Row:
    async with opened(
        broker_url=broker_url, flow=flow, quota=QUOTA, behaviour=UNLIMITED, show_step=print, module=module
    ) as stage:
        (row,) = await steady(stage, processors, measured_s=4.0)
    return row


async def test_processors_keep_one_quota_together(broker_url: str, flow: str) -> None:
    row = await audit(broker_url, flow, module="eventflow_processor", processors=3)
    assert row.highest <= QUOTA.bound(3)
    assert 0.95 < row.utilisation < 1.02, "what 4 s on a busy machine can tell"


async def test_the_audit_finds_processors_that_take_themselves_for_alone(broker_url: str, flow: str) -> None:
    row = await audit(broker_url, flow, module="tests.chaos.mutants.takes_itself_for_alone", processors=3)
    assert row.utilisation == pytest.approx(3, abs=0.3)
    assert row.excess > QUOTA.rate_per_s
    assert row.verdict.startswith("FAILS")
