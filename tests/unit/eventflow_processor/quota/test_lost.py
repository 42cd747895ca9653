"""Lost consumers, on a clock of the test's own. The stories in `test_roster` show that they never exceed the quota."""

from eventflow_processor.quota.lost import LostConsumers, Statistics
from eventflow_processor.quota.roster import JOIN_S


def test_the_number_holds_as_long_as_a_newcomer_waits_that_the_last_check_before_the_question_has_not_counted() -> None:
    """A check that has begun by then can be answered after both the return of a broker and a newcomer."""
    lost = LostConsumers()
    for second in range(30):
        lost.without_lost(2, began_s=second, ended_s=second + 0.1)
        found = Statistics(consumers=1, mark=str(second // 5), lost=frozenset({"rabbit@a"}))
        lost.asked(found, asked_s=second + 0.5)
    assert lost.number == 1
    assert lost.holds_until_s == 29 + JOIN_S
    lost.without_lost(2, began_s=30, ended_s=30.9)
    lost.asked(found, asked_s=30.5)
    assert lost.holds_until_s == 29 + JOIN_S
    lost.asked(found, asked_s=30.9)
    assert lost.holds_until_s == 30 + JOIN_S
    lost.asked(found, asked_s=30.5)
    assert lost.holds_until_s == 30 + JOIN_S, "an answer that comes after that to a later question"
    lost.asked(None, asked_s=30.5)
    assert lost.number == 0, "the broker was back in between"
