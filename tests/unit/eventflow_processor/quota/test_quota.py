"""One quota in several processors that receive each other's broadcasts, on a clock of the test's own."""

import asyncio
from dataclasses import dataclass, field

import pytest

from eventflow.control.messages import Broadcast, ControlMessage, RateReduced
from eventflow.control.overrides import RATE_MIN_PER_S, Overrides
from eventflow_processor.quota.lost import Statistics
from eventflow_processor.quota.quota import Quota
from eventflow_processor.quota.roster import JOIN_S, LEASE_S, POLL_S
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.result import Failed, Succeeded

pytestmark = pytest.mark.virtual_time


@dataclass
class Bench:
    """Quotas of one flow that receive each other's broadcasts."""

    now_s: float = 1000.0
    suspended_s: float = 0.0  # that only the clock of leases has counted
    quotas: dict[str, Quota] = field(default_factory=dict)

    def quota(self, name: str, *, rate_per_s: float | None = 100, burst: float = 1, cost: float = 1) -> Quota:
        def broadcast(message: ControlMessage) -> None:
            for peer, quota in self.quotas.items():
                if peer != name:
                    quota.on_peer_message(Broadcast(flow="f", sender=name, message=message))

        quota = Quota(
            flow="f",
            instance=name,
            rate_per_s=rate_per_s,
            burst=burst,
            cost=cost,
            broadcast=broadcast,
            clock=lambda: self.now_s,
            clock_of_leases=lambda: self.now_s + self.suspended_s,
        )
        self.quotas[name] = quota
        return quota

    def look(self, *, consumers: int) -> None:
        for quota in self.quotas.values():
            quota.consumers_counted(consumers, began_s=self.now_s + self.suspended_s)


REFUSED = Failed(reason="throttled", status=429, asks_to_wait=True)


async def granted(quota: Quota, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await quota.acquire()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("ordered", [None, 1000.0], ids=["unlimited", "a much higher rate"])
async def test_an_order_wakes_what_waits_for_the_quota(ordered: float | None) -> None:
    """Reproduced on 0.1.0: the attempt that waited sat out its 20 s after `rate set`; 30 years at a rate of 1e-9."""
    bench = Bench()
    quota = bench.quota("a", rate_per_s=None)
    quota.joined()
    bench.look(consumers=1)
    quota.apply_overrides(Overrides(rate_per_s=0.01))
    waiting = asyncio.create_task(quota.acquire())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    quota.apply_overrides(Overrides(rate_per_s=ordered))
    bench.now_s += JOIN_S
    bench.look(consumers=1)
    async with asyncio.timeout(1):
        await waiting


async def test_a_rate_of_next_to_nothing_from_a_target_or_a_peer_stops_no_flow_for_years() -> None:
    bench = Bench()
    quota = bench.quota("a")
    quota.joined()
    bench.look(consumers=1)
    quota.learn(Succeeded(status=200, feedback=Feedback(rate_per_s=1e-300)), sent_s=bench.now_s)
    quota.on_peer_message(Broadcast(flow="f", sender="b", message=RateReduced(units_per_s=1e-300)))
    bench.look(consumers=1)
    assert bench.quotas["a"].rate_per_s == RATE_MIN_PER_S


async def test_nothing_is_granted_without_a_fresh_look() -> None:
    bench = Bench()
    quota = bench.quota("a", rate_per_s=1000)
    assert not await granted(quota, within_s=0.05)
    quota.joined()
    bench.now_s += JOIN_S
    bench.look(consumers=1)
    assert await granted(quota, within_s=1)
    bench.now_s += LEASE_S
    assert not await granted(quota, within_s=0.05), "the lease is over"
    bench.look(consumers=1)
    assert await granted(quota, within_s=1)
    quota.left()
    assert not await granted(quota, within_s=0.05)


async def test_a_flow_at_rest_shows_its_share_and_grants_nothing_until_a_fresh_look() -> None:
    bench = Bench()
    quota = bench.quota("a", rate_per_s=100)
    quota.joined()
    bench.now_s += JOIN_S
    bench.look(consumers=1)
    quota.rested(is_resting=True)
    bench.now_s += 60
    assert bench.quotas["a"].share_per_s == 100
    assert not quota.acquire_at_once()
    waiting = asyncio.create_task(quota.acquire())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    quota.rested(is_resting=False)
    assert bench.quotas["a"].share_per_s == 0
    bench.look(consumers=4)
    async with asyncio.timeout(1):
        await waiting
    assert bench.quotas["a"].share_per_s == 25, "its peers have come meanwhile"


async def test_no_lease_outlasts_a_suspend_of_the_machine() -> None:
    """CLOCK_MONOTONIC, which 0.1.0 read, stands still during a suspend, so an old lease was spent after it."""
    bench = Bench()
    quota = bench.quota("a", rate_per_s=1000)
    quota.joined()
    bench.now_s += JOIN_S
    bench.look(consumers=1)
    bench.suspended_s += 8 * 3600
    assert not await granted(quota, within_s=0.05)
    bench.look(consumers=1)
    assert await granted(quota, within_s=1)


async def test_a_flow_without_a_quota_is_never_held_up() -> None:
    assert await granted(Bench().quota("a", rate_per_s=None), within_s=0.05)


async def test_a_refusal_slows_down_all_processors_and_what_they_do_next_once() -> None:
    bench = Bench()
    one, two = bench.quota("a"), bench.quota("b")
    for quota in (one, two):
        quota.joined()
    bench.now_s += JOIN_S
    bench.look(consumers=2)
    assert bench.quotas["b"].share_per_s == 50
    sent_s = bench.now_s
    bench.now_s += 0.1
    one.learn(REFUSED, sent_s=sent_s)
    two.learn(REFUSED, sent_s=sent_s)
    assert bench.quotas["a"].rate_per_s == 50
    assert bench.quotas["b"].share_per_s == 25


async def test_a_joining_processor_learns_the_rate_that_holds() -> None:
    bench = Bench()
    one = bench.quota("a")
    one.joined()
    bench.look(consumers=1)
    one.learn(REFUSED, sent_s=bench.now_s)
    two = bench.quota("b")
    two.joined()
    one.broadcast_state()
    bench.now_s += JOIN_S
    bench.look(consumers=2)
    assert bench.quotas["b"].share_per_s == pytest.approx(25, rel=0.05)


async def test_a_target_without_room_is_left_alone_until_it_has_some() -> None:
    bench = Bench()
    quota = bench.quota("a", rate_per_s=10, burst=40)
    quota.joined()
    bench.look(consumers=1)
    assert quota.learn(Succeeded(status=200, feedback=Feedback(room=8)), sent_s=bench.now_s) == 0
    assert quota.learn(Succeeded(status=200, feedback=Feedback(room=0)), sent_s=bench.now_s) == pytest.approx(0.1)
    window = Feedback(room=0, refilled_after_s=30)
    assert quota.learn(Succeeded(status=200, feedback=window), sent_s=bench.now_s) == 30


async def test_an_order_replaces_the_configured_rate_until_it_is_taken_back() -> None:
    bench = Bench()
    quota = bench.quota("a")
    quota.joined()
    bench.look(consumers=1)
    quota.apply_overrides(Overrides(rate_per_s=5))
    assert bench.quotas["a"].rate_per_s == 5
    quota.apply_overrides(Overrides())
    bench.now_s += JOIN_S
    bench.look(consumers=1)
    assert bench.quotas["a"].rate_per_s == 100


async def test_nothing_is_granted_at_once_past_one_who_waits_or_without_a_lease() -> None:
    bench = Bench()
    quota = bench.quota("a", rate_per_s=100)
    assert not quota.acquire_at_once(), "no share yet"
    quota.joined()
    bench.now_s += JOIN_S
    bench.look(consumers=1)
    await asyncio.sleep(0.05)
    assert quota.acquire_at_once()
    waiting = [asyncio.create_task(quota.acquire()) for _ in range(2)]
    await waiting[0]
    await asyncio.sleep(0)
    assert not quota.acquire_at_once(), "the other one waits"
    await waiting[1]
    await asyncio.sleep(0.05)
    bench.now_s += LEASE_S + 1
    assert not quota.acquire_at_once(), "the lease has ended"


async def test_an_unlimited_flow_grants_at_once() -> None:
    assert Bench().quota("a", rate_per_s=None).acquire_at_once()


async def test_a_newcomer_with_events_sends_as_soon_as_all_others_have_counted_it() -> None:
    bench = Bench()
    first, second = bench.quota("a"), bench.quota("b")
    for quota in (first, second):
        quota.joined()
    bench.now_s += JOIN_S
    bench.look(consumers=2)
    newcomer = bench.quota("c")
    newcomer.joined()
    waiting = asyncio.create_task(newcomer.acquire())
    await asyncio.sleep(0)
    for _ in range(2):  # the first question proves that the others are there, and the second that they are all
        bench.now_s += 0.5
        newcomer.consumers_counted(3, began_s=bench.now_s)
        bench.now_s += 0.5
        for quota in (first, second):
            assert newcomer.share_per_s == 0
            quota.consumers_counted(3, began_s=bench.now_s)
    assert [quota.share_per_s for quota in bench.quotas.values()] == [pytest.approx(100 / 3)] * 3
    async with asyncio.timeout(1):
        await waiting


async def test_a_newcomer_without_events_asks_no_one() -> None:
    bench = Bench()
    member, newcomer = bench.quota("a"), bench.quota("b")
    checks: list[str] = []
    member.check_at_once = lambda: checks.append("a")
    for quota in (member, newcomer):
        quota.joined()
    bench.look(consumers=2)
    assert not checks
    waiting = asyncio.create_task(newcomer.acquire())
    await asyncio.sleep(0)
    bench.now_s += 1
    bench.look(consumers=2)
    assert checks == ["a"]
    waiting.cancel()


async def test_a_newcomer_waits_if_one_of_the_others_divides_the_quota_among_fewer() -> None:
    """Such an answer comes from a check that an outdated broker has answered."""
    bench = Bench()
    member, newcomer = bench.quota("a"), bench.quota("b")
    for quota in (member, newcomer):
        quota.joined()
    member.consumers_counted(1, began_s=bench.now_s)
    waiting = asyncio.create_task(newcomer.acquire())
    await asyncio.sleep(0)
    for _ in range(3):
        bench.now_s += 0.5
        newcomer.consumers_counted(2, began_s=bench.now_s)
        bench.now_s += 0.5
        member.consumers_counted(1, began_s=bench.now_s)
        assert newcomer.share_per_s == 0
    bench.now_s += JOIN_S
    newcomer.consumers_counted(2, began_s=bench.now_s)
    assert newcomer.share_per_s == 50
    waiting.cancel()


def lose_one_of_two(bench: Bench, quota: Quota, *, seconds: int) -> None:
    """Let time pass in which one of two consumers is lost; the statistics are new every 5 s."""
    for number in range(seconds):
        bench.now_s += 1
        bench.look(consumers=2)
        statistics = Statistics(consumers=1, mark=str(number // 5), lost=frozenset({"rabbit@a"}))
        quota.statistics_asked(statistics, asked_s=bench.now_s)


async def test_the_share_of_a_lost_consumer_is_used_and_asked_for_at_rest_too() -> None:
    bench = Bench()
    quota = bench.quota("a")
    quota.joined()
    assert not quota.is_divided
    bench.look(consumers=2)
    assert quota.is_divided
    quota.rested(is_resting=True)
    assert not quota.is_divided, "at rest a lost one would cost nothing"
    quota.rested(is_resting=False)
    lose_one_of_two(bench, quota, seconds=30)
    assert quota.processors == 1
    assert quota.share_per_s == 100
    quota.rested(is_resting=True)
    assert quota.is_divided, "otherwise it would be forgotten"


async def test_no_lease_outlasts_the_knowledge_that_a_broker_is_lost() -> None:
    """When it is back, a newcomer may have hidden this since the check before, and sends after JOIN_S."""
    bench = Bench()
    quota = bench.quota("a")
    quota.joined()
    lose_one_of_two(bench, quota, seconds=30)
    for _ in range(2):
        bench.now_s += POLL_S
        bench.look(consumers=2)
        assert quota.share_per_s == 100
    bench.now_s += JOIN_S - 2 * POLL_S + 0.1
    assert quota.share_per_s == 0, "the lease of the check would last for 3 s"
    bench.look(consumers=2)
    assert quota.share_per_s == 50
