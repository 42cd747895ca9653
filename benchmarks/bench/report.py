"""Tables for the terminal, JSON, and docs/performance.md."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from benchmarks.bench.figures import Role, Row, Section
from benchmarks.bench.goal import Judged, Verdict
from benchmarks.bench.goals import judged
from benchmarks.bench.stage import PEERS_PYTHON
from benchmarks.markdown import table as markdown_table
from benchmarks.markdown import write_section

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- make bench-report: begin -->", "<!-- end -->"
COLUMNS = ("case", "program", "median", "from - to", "of the ceiling", "ours / it", "CPU / event", "memory")
OWN_PACKAGES = ("aiohttp", "aio-pika", "aiormq", "uvloop")
PEERS_PACKAGES = ("celery", "fastapi", "faststream", "uvicorn")
GOAL_COLUMNS = ("measure", "must", "aim", "measured", "reached")
_GOAL_STYLES = {Verdict.MISSED: "red", Verdict.NO_GO: "dim", Verdict.UNKNOWN: "dim"}

Machine = Mapping[str, str | int]


def table(section: Section) -> RenderableType:
    """Return a group's rows for the terminal."""
    shown = Table(*COLUMNS, title=section.title, title_justify="left", title_style="bold")
    for column in shown.columns[2:]:
        column.justify = "right"
    previous = None
    for row in section.rows:
        if previous is not None and row.case != previous:
            shown.add_section()
        style = {Role.OURS: "bold", Role.CEILING: "dim", Role.PEER: ""}[row.role]
        shown.add_row(*_cells(section, row, is_first=row.case != previous), style=style)
        previous = row.case
    return shown


def goals_table(sections: Sequence[Section]) -> RenderableType:
    """Return the table of goals for the terminal."""
    shown = Table(*GOAL_COLUMNS, title="Reached", title_justify="left", title_style="bold")
    for column in shown.columns[1:4]:
        column.justify = "right"
    for each in judged(sections):
        shown.add_row(*_goal_cells(each), style=_GOAL_STYLES.get(each.verdict, ""))
    return shown


def remarks(section: Section) -> list[str]:
    """Return the failed measurements of a group, and figures that void the run."""
    void = [
        f"{row.name}, {row.case}: {row.value:.0f} {row.unit} is far below its known range from {row.known.least:.0f} "
        "on; the machine was busy with other work, so no figure of this run counts"
        for row in section.rows
        if row.known is not None and row.is_far_below
    ]
    return [*section.problems, *void]


def markdown(sections: Sequence[Section], on: Machine) -> str:
    """Return all tables for a page."""
    reached_table = markdown_table(GOAL_COLUMNS, justify="lrrrl", rows=map(_goal_cells, judged(sections)))
    groups = (_markdown_section(section) for section in sections)
    return "\n\n".join([_conditions(on), f"### Reached\n\n{reached_table}", *groups])


def as_json(sections: Sequence[Section], on: Machine) -> str:
    """Return all measurements as JSON."""
    document = {
        "machine": on,
        "goals": [
            {
                "measure": each.goal.measure,
                "must": each.must,
                "aim": each.goal.aim,
                "value": each.value,
                "reached": each.verdict.value,
            }
            for each in judged(sections)
        ],
        "sections": [_section_document(section) for section in sections],
    }
    return json.dumps(document, indent=2)


def write(text: str, page: Path = PAGE) -> None:
    """Write a text between the markers of a page.

    Raises:
        ValueError: The page has no such markers.
    """
    write_section(page, text, begin=BEGIN, end=END)


def machine(*, rabbitmq: str, go: str | None) -> Machine:
    """Return the machine and the versions behind the measurements."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "rabbitmq": rabbitmq,
        "go": go or "none",
        **{package: version(package) for package in OWN_PACKAGES},
        **{one.name: one.version for one in _peers_packages() if one.name in PEERS_PACKAGES},
    }


def _cells(section: Section, row: Row, *, is_first: bool = True) -> Sequence[str]:
    share, times = section.of_ceiling(row), section.times_peer(row)
    return (
        row.case if is_first else "",
        row.name,
        _quantity(row.value, row.unit),
        f"{_number(min(row.figures))} - {_number(max(row.figures))}",
        "" if share is None else f"{share:.2f}",
        "" if times is None else f"{times:.2f} x",
        _median(row.cpu_us, "µs"),
        _median(row.resident_mb, "MB"),
    )


def _median(figures: Sequence[float], unit: str) -> str:
    return _quantity(median(figures), unit) if figures else ""


def _quantity(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def _conditions(on: Machine) -> str:
    packages = ", ".join(f"{name} {on[name]}" for name in (*OWN_PACKAGES, *PEERS_PACKAGES) if name in on)
    return (
        f"{on['cores']} cores ({on['processor']}), {on['system']}, Python {on['python']}, RabbitMQ {on['rabbitmq']}, "
        f"Go {on['go']}, {packages}."
    )


def _markdown_section(section: Section) -> str:
    rows = (_cells(section, row) for row in section.rows)
    notes = [f"{remark}." for remark in remarks(section)]
    return "\n\n".join([f"### {section.title}", markdown_table(COLUMNS, justify="llrrrrrr", rows=rows), *notes])


def _goal_cells(each: Judged) -> Sequence[str]:
    figures = (each.must, each.goal.aim, each.value)
    return (
        each.goal.measure,
        *("" if figure is None else _quantity(figure, each.goal.unit) for figure in figures),
        each.verdict.value,
    )


def _section_document(section: Section) -> Mapping[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "rows": list(_row_documents(section)),
        "remarks": remarks(section),
    }


def _row_documents(section: Section) -> Iterator[Mapping[str, Any]]:
    for row in section.rows:
        yield {
            "case": row.case,
            "name": row.name,
            "role": row.role.value,
            "unit": row.unit,
            "median": row.value,
            "samples": list(row.figures),
            "cpu_us": list(row.cpu_us),
            "resident_mb": list(row.resident_mb),
            "of_ceiling": section.of_ceiling(row),
            "ours_times": section.times_peer(row),
            "is_far_below": row.is_far_below,
        }


def _peers_packages() -> Iterable[Distribution]:
    libraries = (PEERS_PYTHON.parents[1] / "lib").glob("python*/site-packages")
    return distributions(path=[str(path) for path in libraries])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
