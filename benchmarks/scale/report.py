"""The tables of the run and of the model, for the terminal and for docs/sizing.md."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import markdown
from benchmarks.scale.figures import Figures, Size
from benchmarks.scale.model import counts

PAGE = Path(__file__).parents[2] / "docs" / "sizing.md"
BEGIN, END = "<!-- python -m benchmarks.scale --report: begin -->", "<!-- end -->"
MB = 1_000_000
ON_PAPER = Size(flows=1000, processors=200, collectors=100)


def section(runs: Sequence[Figures]) -> str:
    """Return the section of docs/sizing.md: the runs side by side, then the model."""
    return f"{measured(runs)}\n\n{modelled(ON_PAPER)}"


def write(text: str) -> None:
    """Write the section into docs/sizing.md."""
    markdown.write_section(PAGE, text, begin=BEGIN, end=END)


def measured(runs: Sequence[Figures]) -> str:
    """Return the table of runs, one column each."""
    heads = ["", *(f"{run.version}: {_number(run.size.flows)} flows x {run.size.processors}" for run in runs)]
    columns = [_cells(run) for run in runs]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return markdown.table(heads, rows, justify="l" + "r" * len(runs))


def modelled(size: Size) -> str:
    """Return the table of the model."""
    heads = [
        f"{_number(size.flows)} flows, {size.processors} processors, {size.collectors} collectors",
        "grows with",
        "0.2.0",
        "now",
    ]
    rows = [[each.name, each.grows_with, _number(each.before), _number(each.now)] for each in counts(size)]
    return markdown.table(heads, rows, justify="llrr")


def _cells(run: Figures) -> dict[str, str]:
    idle, parts = run.idle, run.parts
    return {
        "queues": _number(parts.queues),
        "connections": _number(parts.connections),
        "channels": _number(parts.channels),
        "consumers": _number(parts.consumers),
        "open files of the broker": _number(parts.files),
        "first processor ready after": f"{run.first_ready_s:.0f} s",
        "the others, started together, after": f"{run.ready_s:.0f} s",
        "requests of a start": _number(run.requests_of_a_start),
        "memory of the broker": f"{idle.broker.memory_bytes / MB:.0f} MB",
        "of this, for each flow": f"{run.flow_bytes / MB:.2f} MB",
        "memory of a processor": f"{idle.processor.memory_bytes / MB:.0f} MB",
        "memory of a collector": f"{idle.collector.memory_bytes / MB:.0f} MB",
        "CPU of a processor": f"{idle.processor.cores:.1%} of a core",
        "CPU of the broker": f"{idle.broker.cores:.1%} of a core",
        "requests/s": _number(idle.requests_per_s),
        "entries/s in the logs of quorum queues": _number(idle.log_entries_per_s),
        "control messages/s": _number(idle.control_per_s),
    }


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")
