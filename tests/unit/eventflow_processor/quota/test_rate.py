"""The rate that a flow may have now, on a clock of the test's own."""

import pytest

from eventflow_processor.quota.rate import RECOVERY_S, AimdRate
from eventflow_processor.quota.roster import JOIN_S


def test_a_refusal_halves_the_rate_once_and_it_recovers_step_by_step() -> None:
    rate = AimdRate(100)
    assert rate.refused(sent_s=10, now_s=11)
    assert not rate.refused(sent_s=10.9, now_s=11.1), "sent before the step, so it is no news"
    assert rate.rate_per_s(now_s=11) == 50
    assert rate.rate_per_s(now_s=11 + RECOVERY_S / 4) == pytest.approx(75)
    assert rate.rate_per_s(now_s=11 + RECOVERY_S) == 100
    assert rate.refused(sent_s=12, now_s=12)
    assert rate.rate_per_s(now_s=12) == pytest.approx(25, rel=0.02)


def test_refusals_for_ever_leave_a_rate_above_nothing() -> None:
    rate = AimdRate(100)
    for number in range(1000):
        rate.refused(sent_s=number, now_s=number)
    assert (rate.rate_per_s(now_s=1000) or 0) > 0


def test_a_peers_rate_is_taken_over_when_it_is_lower_and_echoes_are_no_steps() -> None:
    rate = AimdRate(100)
    assert rate.peer_reduced(40, now_s=10)
    assert not rate.peer_reduced(39.9, now_s=10.1)
    assert not rate.peer_reduced(80, now_s=10.2)
    assert rate.rate_per_s(now_s=10.2) == pytest.approx(40, rel=0.01)
    assert not rate.refused(sent_s=9.9, now_s=10.3), "the peer has stepped down for that"


def test_a_stated_rate_holds_up_to_the_limit_and_never_beyond() -> None:
    rate = AimdRate(100)
    rate.stated(50)
    assert rate.rate_per_s(now_s=0) == 50
    rate.stated(1000)
    assert rate.rate_per_s(now_s=0) == 100


def test_a_lower_order_holds_at_once_and_a_higher_one_when_all_have_heard_of_it() -> None:
    rate = AimdRate(100)
    rate.set_limit(20, now_s=10)
    assert rate.rate_per_s(now_s=10) == 20
    rate.set_limit(60, now_s=11)
    assert rate.rate_per_s(now_s=11 + JOIN_S - 0.1) == 20
    assert rate.rate_per_s(now_s=11 + JOIN_S) == 60
    rate.set_limit(None, now_s=20)
    assert rate.rate_per_s(now_s=20 + JOIN_S) is None
