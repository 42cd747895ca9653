from tests.availability.figures import above_quota, gaps, quota_used

STEADY = [index / 10 for index in range(100)]
PAUSED = [at_s for at_s in STEADY if not 3 <= at_s < 4.5]


def test_the_used_quota_is_the_share_of_the_allowed_requests() -> None:
    assert quota_used(STEADY, from_s=0, until_s=10, per_s=10) == 1
    assert quota_used(STEADY, from_s=2, until_s=4, per_s=20) == 0.5


def test_a_pause_shows_as_gaps_in_its_seconds() -> None:
    assert list(gaps(STEADY, from_s=0, until_s=10, per_s=10)) == []
    assert list(gaps(PAUSED, from_s=0, until_s=10, per_s=10)) == [(3, 0.0), (4, 0.5)]


def test_requests_at_once_are_above_the_quota_and_steady_ones_are_not() -> None:
    assert above_quota(STEADY, per_s=10) < 2
    assert above_quota(sorted([*STEADY, *[5.0] * 20]), per_s=10) > 20
