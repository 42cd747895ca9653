"""The services that have answered, one line each."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from eventflow.control.reports import CollectorReport, ProcessorReport
from eventflow.operations.asking import Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process that has answered.

    Attributes:
        kind: `processor` or `collector`.
        name: `host:pid`.
        instance: Its whole name, as in its log.
        ready: As in its /readyz; None if it did not report that.
        notes: The reasons why it is not ready, and other remarks.
    """

    kind: str
    name: str
    instance: str
    ready: bool | None
    notes: tuple[str, ...] = field(default=())

    @property
    def in_words(self) -> str:
        """The state for display."""
        state = {True: "ready", False: "not ready", None: "unknown"}[self.ready]
        return ": ".join((state, "; ".join(self.notes))) if self.notes else state


def services_in(answers: Answers) -> list[Service]:
    """Return the processes in the answers, processors first. One with several flows has answered for each of them."""
    return [
        *(_processor(name, report) for name, report in sorted(answers.every_processor.items())),
        *(_collector(name, report) for name, report in sorted(answers.every_collector.items())),
    ]


def _processor(instance: str, report: ProcessorReport) -> Service:
    return Service(
        kind="processor", name=short_name(instance), instance=instance, ready=report.is_ready, notes=report.obstacles
    )


def _collector(instance: str, report: CollectorReport) -> Service:
    return Service(
        kind="collector",
        name=short_name(instance),
        instance=instance,
        ready=report.is_ready,
        notes=tuple(_notes_of(report)),
    )


def _notes_of(report: CollectorReport) -> Iterator[str]:
    if report.broker is not None and report.broker != "up":
        yield f"broker {report.broker}"
    if report.spool is not None and (report.spool.events or report.spool.state != "empty"):
        yield f"spool {report.spool.state}, {report.spool.events} events"


def short_name(instance: str) -> str:
    """Return `host:pid` of `program@host:pid:random`; a name of another form stays as it is."""
    match instance.partition("@")[2].split(":"):
        case [host, pid, _]:
            return f"{host}:{pid}"
    return instance
