"""Advice on queues."""

from eventflow.cli.check.broker import leftover
from eventflow.cli.check.finding import Verdict


def test_a_leftover_queue_is_deleted_only_once_it_is_empty() -> None:
    assert "delete" in leftover("q", 0).advice
    assert "delete" not in leftover("q", 3).advice
    assert leftover("q", 3).verdict is Verdict.WARNING
