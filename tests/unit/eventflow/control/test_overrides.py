"""Documents of overrides: any program with the right to publish can write one."""

import pytest

from eventflow.control.overrides import (
    RATE_MAX_PER_S,
    RATE_MIN_PER_S,
    InvalidOverridesError,
    Overrides,
    decode_overrides,
    encode_overrides,
)


@pytest.mark.parametrize(
    "overrides",
    [
        Overrides(),
        Overrides(is_paused=True),
        Overrides(rate_per_s=RATE_MIN_PER_S),
        Overrides(rate_per_s=RATE_MAX_PER_S, is_paused=True),
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
