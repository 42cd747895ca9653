"""The end of a call against its deadline."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from eventflow_processor.target.function.fate import Fate, Stage

STEPS = (Stage.BEGUN, Stage.CALLED, Stage.ENDING)


@given(st.integers(0, 3))
def test_a_call_is_given_up_unless_it_ends_by_itself(steps: int) -> None:
    fate = Fate()
    assert all(fate.enter(stage) for stage in STEPS[:steps])
    assert fate.give_up() is (Stage.WAITING, *STEPS)[steps]
    assert fate.is_given_up == (steps < 3)
    assert [fate.enter(stage) for stage in STEPS[steps:]] == [False] * (3 - steps)


def test_of_the_deadline_and_the_commit_exactly_one_wins() -> None:
    for _ in range(300):
        fate, commits = Fate(), []
        fate.enter(Stage.CALLED)
        together = threading.Barrier(2)

        def commit(fate: Fate = fate, commits: list[bool] = commits, together: threading.Barrier = together) -> None:
            together.wait()
            commits.append(fate.enter(Stage.ENDING))

        thread = threading.Thread(target=commit)
        thread.start()
        together.wait()
        is_cut = fate.give_up() is not Stage.ENDING
        thread.join()
        assert commits == [not is_cut]
