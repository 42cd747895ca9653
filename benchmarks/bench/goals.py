"""Goals: figures that must be reached, and figures to aim at. Pure.

They are ratios within one run on one machine, except for the last two, which apply to a machine with 2 cores.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bench.figures import Role, Row, Section
from benchmarks.bench.groups import growth, ingest, latency, telemetry

Sections = Mapping[str, Section]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Goal for one figure.

    Attributes:
        must: Bound that must be reached.
        aim: Bound to aim at.
        read: Finds the figure among the measurements; None if it was not measured.
        is_limit: Whether smaller figures are better.
    """

    measure: str
    must: float
    aim: float
    read: Callable[[Sections], float | None]
    unit: str = ""
    is_limit: bool = False

    def judge(self, value: float) -> str:
        """Return the bound that a figure reaches: aim, must or missed."""
        if self._reaches(value, self.aim):
            return "aim"
        return "must" if self._reaches(value, self.must) else "missed"

    def _reaches(self, value: float, bound: float) -> bool:
        return value <= bound if self.is_limit else value >= bound


def _of_ceiling(group: str, case: str | None = None) -> Callable[[Sections], float | None]:
    def read(sections: Sections) -> float | None:
        row = _ours(sections, group, case)
        return sections[group].of_ceiling(row) if row is not None else None

    return read


def _times(group: str, peer: str, case: str | None = None) -> Callable[[Sections], float | None]:
    def read(sections: Sections) -> float | None:
        rows = _rows(sections, group, case)
        row = next((row for row in rows if row.name == peer), None)
        return sections[group].times_peer(row) if row is not None else None

    return read


def _growth(sections: Sections) -> float | None:
    """Return the smaller ratio of the two rates, each relative to the same ratio of raw frames."""
    rows = [row for row in _rows(sections, "growth") if row.unit == "" and row.role is Role.OURS]
    shares = [sections["growth"].of_ceiling(row) for row in rows]
    return min((share for share in shares if share is not None), default=None)


def _slowest_answer(sections: Sections) -> float | None:
    cases = (latency.COLLECTOR_ALONE, latency.WHOLE_WAY_202)
    rows = [row for row in _rows(sections, "latency") if row.case.startswith(cases) and row.name.endswith("p99")]
    return max((row.value for row in rows), default=None)


def _most_memory(sections: Sections) -> float | None:
    return max((row.value for row in _rows(sections, "growth") if row.unit == growth.MEMORY_UNIT), default=None)


def _rows(sections: Sections, group: str, case: str | None = None) -> Sequence[Row]:
    section = sections.get(group)
    if section is None:
        return ()
    return section.rows if case is None else section.of_case(case)


def _ours(sections: Sections, group: str, case: str | None) -> Row | None:
    return next((row for row in _rows(sections, group, case) if row.role is Role.OURS), None)


GOALS = (
    Goal(
        measure=f"single-event ingest / ceiling ({ingest.HEADLINE})",
        must=0.35,
        aim=0.50,
        read=_of_ceiling("ingest", ingest.HEADLINE),
    ),
    Goal(
        measure="... / FastAPI + FastStream",
        must=3,
        aim=5,
        read=_times("ingest", "FastAPI + FastStream", ingest.HEADLINE),
    ),
    Goal(
        measure="... / aiohttp + aio-pika",
        must=1.8,
        aim=3,
        read=_times("ingest", "aiohttp + aio-pika", ingest.HEADLINE),
    ),
    Goal(measure="... / FastAPI + Celery", must=10, aim=15, read=_times("ingest", "FastAPI + Celery", ingest.HEADLINE)),
    Goal(measure="batch ingest / raw AMQP ceiling", must=0.45, aim=0.70, read=_of_ceiling("batches")),
    Goal(measure="delivery / aiohttp's client alone", must=0.36, aim=0.55, read=_of_ceiling("delivery")),
    Goal(measure="delivery / aio-pika + aiohttp", must=1.2, aim=1.7, read=_times("delivery", "aio-pika + aiohttp")),
    Goal(measure="delivery / FastStream", must=2.5, aim=4, read=_times("delivery", "FastStream + aiohttp")),
    Goal(
        measure="(rate with the largest backlog / with none) / the same of raw frames",
        must=0.9,
        aim=0.98,
        read=_growth,
    ),
    Goal(
        measure="ingest with metrics and 1 % of traces / without telemetry",
        must=0.9,
        aim=0.95,
        read=_of_ceiling("telemetry", telemetry.IN_PRODUCTION),
    ),
    Goal(measure="p99 of the 202 at half load", must=25, aim=10, read=_slowest_answer, unit="ms", is_limit=True),
    Goal(
        measure="resident memory of a service at any backlog",
        must=150,
        aim=100,
        read=_most_memory,
        unit=growth.MEMORY_UNIT,
        is_limit=True,
    ),
)


def reached(sections: Sequence[Section]) -> Iterator[tuple[Goal, float]]:
    """Yield each measured goal with its figure."""
    by_name = {section.name: section for section in sections}
    for goal in GOALS:
        value = goal.read(by_name)
        if value is not None:
            yield goal, value
