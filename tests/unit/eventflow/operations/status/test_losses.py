"""Possible losses that processors report."""

from eventflow.control.reports import ProcessorReport
from eventflow.operations.status.losses import losses_in


def test_what_may_have_deleted_events_is_reported_once_for_all_processors() -> None:
    reports = [ProcessorReport(queues_vanished=2, dangerous_policies=3), ProcessorReport(queues_vanished=1)]
    losses = list(losses_in(reports))
    assert [line.rsplit(": ", 1)[1] for line in losses] == ["see queue.vanished in its log", "see eventflow check"]
    assert "2 since" in losses[0]


def test_unknown_values_are_no_loss() -> None:
    assert not list(losses_in([ProcessorReport(), ProcessorReport(queues_vanished=0, dangerous_policies=0)]))
