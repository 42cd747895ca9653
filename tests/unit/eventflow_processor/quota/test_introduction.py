"""Introduction: when a newcomer knows that all others have counted it. On a clock of the test's own."""

from eventflow_processor.quota.introduction import PROCESSORS_MAX, Introduction, Newcomers, Peer
from eventflow_processor.quota.roster import APART_S

A, B, ZOMBIE = (Peer(instance=name, joins=1) for name in ("a", "b", "zombie"))


def ask(introduction: Introduction, *, processors: int, began_s: float) -> int:
    number = introduction.ask(processors=processors, began_s=began_s)
    assert number is not None
    return number


def asked_once(*peers: Peer, processors: int) -> Introduction:
    """Return a newcomer that has joined at 100, and asked for the first time, with the answers of `peers`."""
    introduction = Introduction()
    introduction.begin()
    number = ask(introduction, processors=processors, began_s=100)
    for peer in peers:
        assert not introduction.answered(peer, number=number, processors=processors, now_s=100.1), "never at once"
    return introduction


def test_all_have_counted_it_when_as_many_have_answered_before_and_after_a_check_as_the_check_has_counted() -> None:
    introduction = asked_once(A, B, processors=3)
    number = ask(introduction, processors=3, began_s=101)
    assert not introduction.answered(A, number=number, processors=3, now_s=101.1)
    assert not introduction.answered(A, number=number, processors=3, now_s=101.1), "the same one again"
    assert introduction.answered(B, number=number, processors=3, now_s=101.1)


def test_a_counted_consumer_whose_processor_never_answers_keeps_it_waiting() -> None:
    introduction = asked_once(A, processors=3)
    number = ask(introduction, processors=3, began_s=101)
    assert not introduction.answered(A, number=number, processors=3, now_s=101.1)


def test_one_that_answered_and_left_does_not_stand_for_one_that_never_answers() -> None:
    """The check counts the newcomer and the zombie, so two, as many as the newcomer and the one that has left."""
    introduction = asked_once(A, processors=2)
    ask(introduction, processors=2, began_s=101)
    number = ask(introduction, processors=2, began_s=102)
    assert not introduction.answered(B, number=number, processors=2, now_s=102.1), "it came after the check"


def test_one_that_left_and_came_back_is_another() -> None:
    introduction = asked_once(A, processors=2)
    number = ask(introduction, processors=2, began_s=101)
    back = Peer(instance=A.instance, joins=2)
    assert not introduction.answered(back, number=number, processors=2, now_s=101.1)


def test_an_answer_to_an_earlier_question_counts_only_as_presence() -> None:
    introduction = asked_once(A, processors=2)
    ask(introduction, processors=2, began_s=101)
    assert not introduction.answered(A, number=1, processors=2, now_s=101.1)
    introduction.begin()
    number = ask(introduction, processors=2, began_s=103)
    assert not introduction.answered(A, number=number, processors=2, now_s=103.1), "the newcomer itself has left since"


def test_an_answer_during_a_check_does_not_show_that_its_sender_was_there_before() -> None:
    introduction = asked_once(processors=2)
    introduction.answered(A, number=1, processors=2, now_s=101.001)
    number = ask(introduction, processors=2, began_s=101)
    assert not introduction.answered(A, number=number, processors=2, now_s=101.1)


def test_questions_are_apart_and_large_flows_ask_none() -> None:
    introduction = asked_once(processors=2)
    assert introduction.ask(processors=2, began_s=100 + APART_S - 0.1) is None
    assert introduction.ask(processors=PROCESSORS_MAX + 1, began_s=102) is None


def test_a_newcomer_is_answered_once_after_a_check_that_began_after_its_question() -> None:
    newcomers = Newcomers()
    newcomers.asked("a", number=1, now_s=100)
    newcomers.asked("a", number=2, now_s=101)
    newcomers.asked("b", number=7, now_s=103)
    assert not list(newcomers.take_counted(began_s=101))
    assert list(newcomers.take_counted(began_s=102)) == [("a", 2)]
    assert not list(newcomers.take_counted(began_s=102))
    newcomers.forget()
    assert not list(newcomers.take_counted(began_s=104))
