"""Tables for the terminal, JSON, and docs/performance.md."""

import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from benchmarks.bench.figures import Role, Row, Section
from benchmarks.bench.goal import Judged, Verdict
from benchmarks.bench.goals import GOALS, judged
from benchmarks.bench.stage import PEERS_PYTHON
from benchmarks.markdown import read_section, write_section
from benchmarks.markdown import table as markdown_table

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- make bench-report: begin -->", "<!-- end -->"
_GROUP = re.compile("<!-- group: (.+) -->")
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


def markdown(sections: Sequence[Section], on: Machine, *, before: str = "") -> str:
    """Return all tables for a page.

    Args:
        sections: The groups that were measured.
        on: The machine and the versions.
        before: The tables that the page has now. Those of other groups stay.
    """
    head, *parts = _GROUP.split(before)
    tables = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
    is_whole = tables.keys() <= {section.name for section in sections}
    conditions, note = (_conditions(on), "") if is_whole else (head.strip().partition("\n")[0], _conditions(on))
    tables |= {section.name: _markdown_section(section, note) for section in sections}
    groups = (f"<!-- group: {name} -->\n\n{text}" for name, text in tables.items())
    return "\n\n".join([conditions, f"### Reached\n\n{_reached_table(sections, head)}", *groups])


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


def write(sections: Sequence[Section], on: Machine, page: Path = PAGE) -> None:
    """Write the tables between the markers of a page. Those of groups that were not measured stay.

    Raises:
        ValueError: The page has no such markers.
    """
    before = read_section(page, begin=BEGIN, end=END)
    write_section(page, markdown(sections, on, before=before), begin=BEGIN, end=END)


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


def _reached_table(sections: Sequence[Section], before: str) -> str:
    """Return the table of goals; of groups that were not measured, with the rows that the page has now."""
    lines = (line for line in before.splitlines() if line.startswith("| "))
    rows = {measure: (measure, *cells) for measure, *cells in (line[2:-2].split(" | ") for line in lines)}
    rows |= {each.goal.measure: tuple(_goal_cells(each)) for each in judged(sections)}
    ordered = (rows[goal.measure] for goal in GOALS if goal.measure in rows)
    return markdown_table(GOAL_COLUMNS, justify="lrrrl", rows=ordered)


def _markdown_section(section: Section, conditions: str) -> str:
    rows = (_cells(section, row) for row in section.rows)
    separate = [f"Measured in a run of its own: {conditions}"] if conditions else []
    notes = [f"{remark}." for remark in remarks(section)]
    tables = markdown_table(COLUMNS, justify="llrrrrrr", rows=rows)
    return "\n\n".join([f"### {section.title}", *separate, tables, *notes])


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
