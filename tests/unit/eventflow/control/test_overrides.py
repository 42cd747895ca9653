"""Documents of overrides: any program with the right to publish can write one."""

from datetime import UTC, datetime

import pytest

from eventflow.control.overrides import (
    RATE_MAX_PER_S,
    RATE_MIN_PER_S,
    InvalidOverridesError,
    Overrides,
    decode_overrides,
    encode_overrides,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "overrides",
    [
        Overrides(),
        Overrides(is_paused=True),
        Overrides(rate_per_s=RATE_MIN_PER_S),
        Overrides(rate_per_s=RATE_MAX_PER_S, is_paused=True),
        Overrides(rate_per_s=2.0).pause(at=AT, by="ann@host"),
    ],
)
def test_overrides_are_read_as_they_were_written(overrides: Overrides) -> None:
    assert decode_overrides(encode_overrides(overrides)) == overrides


@pytest.mark.parametrize("rate", ["1e-320", "0.000009", "0", "-1", "1e7", "NaN", "Infinity", "true", '"1"'])
def test_a_rate_that_nobody_can_order_is_no_override(rate: str) -> None:
    """A rate of 1e-320 was taken, and the bucket divided by zero at every look at the queue."""
    with pytest.raises(InvalidOverridesError):
        decode_overrides(b'{"rate_per_s": %s, "paused": false}' % rate.encode())


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[" * 100_000, b"{}", b'{"rate_per_s": 1}', b'{"paused": true}'])
def test_anything_else_is_no_override(body: bytes) -> None:
    with pytest.raises(InvalidOverridesError):
        decode_overrides(body)


def test_a_pause_keeps_the_time_and_the_operator_of_the_first_order() -> None:
    paused = Overrides(rate_per_s=5.0).pause(at=AT, by="ann@host")
    assert paused.pause(at=AT.replace(year=2027), by="bob@host") == paused
    assert paused.resume() == Overrides(rate_per_s=5.0)


@pytest.mark.parametrize(
    "extra", [b"", b', "paused_at": "soon", "paused_by": 7', b', "paused_by": "a\\nb", "color": 1']
)
def test_a_pause_of_another_version_is_a_pause(extra: bytes) -> None:
    assert decode_overrides(b'{"rate_per_s": null, "paused": true%b}' % extra) == Overrides(is_paused=True)
