"""Attempts on record as the command shows them."""

from collections.abc import Iterator, Sequence

from eventflow.cli.bodies import shown_body
from eventflow.cli.console import FittingTable, printable, table
from eventflow.event import format_time
from eventflow.excerpt import excerpt_of
from eventflow.history.documents import text_of
from eventflow.history.records import Action, AttemptRecord
from eventflow.history.store import StoreReport
from eventflow.operations.history.words import sentence_of

INDENT = "    "


def attempts_table(attempts: Sequence[AttemptRecord]) -> FittingTable:
    """Return a page of attempts as a table."""
    numbers = ("attempt", "ms")
    shown = table("started", "event", "type", "attempt", "outcome", "status", "cause", "ms", numbers=numbers)
    for attempt in attempts:
        shown.add_row(
            format_time(attempt.started_at),
            printable(attempt.event_id),
            printable(attempt.type),
            str(attempt.attempt),
            attempt.outcome,
            "-" if attempt.status is None else str(attempt.status),
            ": ".join(part for part in (attempt.reason, attempt.detail) if part) or "-",
            _milliseconds(attempt),
        )
    return shown


def actions_table(actions: Sequence[Action]) -> FittingTable:
    """Return actions as a table."""
    shown = table("at", "by", "flow", "action", "detail")
    for action in actions:
        shown.add_row(
            format_time(action.at), printable(action.by), action.flow, action.kind, printable(action.detail) or "-"
        )
    return shown


def timeline_of(attempts: Sequence[AttemptRecord], *, full: bool) -> Iterator[str]:
    """Yield lines about the attempts of one event, the oldest first, from its acceptance on."""
    flows = {attempt.flow for attempt in attempts}
    for flow in sorted(flows):
        of_flow = [attempt for attempt in attempts if attempt.flow == flow]
        yield from _head_of(of_flow[0])
        for attempt in of_flow:
            yield f"{format_time(attempt.started_at)}  {sentence_of(attempt)} ({_milliseconds(attempt)} ms)"
            yield from _answer_of(attempt, full=full)


def _head_of(first: AttemptRecord) -> Iterator[str]:
    names = {"flow": first.flow, "id": first.event_id, "type": first.type, "source": first.source}
    more = {"subject": first.subject, "trace": first.trace_id}
    for name, value in (names | {name: value for name, value in more.items() if value is not None}).items():
        yield f"{name:9}{value}"
    if first.accepted_at is not None:
        wait_s = (first.started_at - first.accepted_at).total_seconds()
        yield f"{format_time(first.accepted_at)}  accepted; attempt {first.attempt} began {wait_s:.3f} s later"


def _answer_of(attempt: AttemptRecord, *, full: bool) -> Iterator[str]:
    answer = attempt.answer
    if answer is None:
        return
    kept = "" if len(answer) == attempt.answer_bytes else f"{len(answer)} bytes kept"
    size = "" if attempt.answer_bytes is None else f"{attempt.answer_bytes} bytes"
    yield f"{INDENT}answer ({', '.join(part for part in (attempt.answer_type, size, kept) if part)}):"
    for line in (_whole(answer) if full else excerpt_of(answer) or "").splitlines():
        yield f"{INDENT}{INDENT}{line}"


def _whole(answer: bytes) -> str:
    text = text_of(answer)
    return shown_body(answer if text is None else text.encode(), full=True)


def _milliseconds(attempt: AttemptRecord) -> str:
    return f"{attempt.duration_us / 1000:.1f}"


def facts_of(report: StoreReport, url: str) -> list[tuple[str, str]]:
    """Return names and values about a store; unknown values are left out."""
    facts = [("store", url), ("kind", report.kind), ("schema", schema_of(report))]
    if report.size_bytes is not None:
        facts.append(("size", f"{report.size_bytes / 1024 / 1024:.1f} MiB"))
    if report.oldest is not None:
        facts.append(("oldest attempt", format_time(report.oldest)))
    return facts


def schema_of(report: StoreReport) -> str:
    """Describe the version of the schema."""
    if report.version == report.expected_version:
        return f"version {report.version}"
    return f"version {report.version}, but this program needs version {report.expected_version}"
