"""Possible losses that a processor reports."""

from eventflow.cli.scrape import parsed
from eventflow.cli.status.losses import losses_of


def test_what_may_have_deleted_events_is_read_from_the_processors_metrics() -> None:
    text = (
        'eventflow_queues_vanished_total{flow="a"} 2.0\neventflow_queues_vanished_total{flow="b"} 0.0\n'
        'eventflow_dangerous_policies{flow="a"} 3.0\n'
    )
    losses = losses_of(parsed(text))
    assert list(losses) == ["a"]
    places = [line.rsplit(": ", 1)[1] for line in losses["a"]]
    assert places == ["see queue.vanished in its log", "see eventflow check"]
