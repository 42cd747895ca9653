"""Possible losses of events that processors report: vanished queues, and dangerous policies. Pure."""

from collections.abc import Iterable, Iterator

from eventflow.control.reports import ProcessorReport


def losses_in(reports: Iterable[ProcessorReport]) -> Iterator[str]:
    """Yield one line for each possible loss of a flow. Processors report the same ones, so the largest counts."""
    reports = list(reports)
    if vanished := max((report.queues_vanished or 0 for report in reports), default=0):
        line = f"queues vanished, with all events in them: {vanished} since the processor started"
        yield f"{line}: see queue.vanished in its log"
    if dangers := max((report.dangerous_policies or 0 for report in reports), default=0):
        yield f"policies of the broker can delete events: {dangers} settings in effect: see eventflow check"
