"""Reads of the dead queue."""

from eventflow.operations.dead.browse import DeadQueue


def test_dead_letters_that_are_read_together_have_at_most_64_mib_of_bodies() -> None:
    assert DeadQueue(flow="a", max_body_bytes=1024 * 1024).per_read == 64
    assert DeadQueue(flow="a", max_body_bytes=128 * 1024 * 1024).per_read == 1
