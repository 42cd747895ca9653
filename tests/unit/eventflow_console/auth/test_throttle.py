"""The bound on wrong passwords."""

from eventflow_console.auth.throttle import FAILURES_MAX, PLACES_MAX, WINDOW_S, Throttle


def test_a_place_with_many_wrong_passwords_waits_for_the_rest_of_the_minute():
    throttle = Throttle()
    assert all(throttle.begin("a", now_s=number) == 0 for number in range(FAILURES_MAX))
    assert throttle.begin("a", now_s=20) == WINDOW_S - 20
    assert throttle.begin("b", now_s=20) == 0
    assert throttle.begin("a", now_s=WINDOW_S) == 0


def test_right_passwords_do_not_count():
    throttle = Throttle()
    for _ in range(FAILURES_MAX * 3):
        assert throttle.begin("a", now_s=0) == 0
        throttle.take_back("a")


def test_the_memory_for_places_is_bounded():
    throttle = Throttle()
    for number in range(PLACES_MAX + 10):
        throttle.begin(str(number), now_s=0)
    assert len(throttle._windows) == PLACES_MAX
    throttle.take_back("0")
