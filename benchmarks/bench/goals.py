"""All goals, and their figures among the measurements. Pure.

Most are ratios within one run on one machine. The others (in ms, µs and MB) apply to a machine with 2 cores.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

from benchmarks.bench.contestants.names import (
    AIO_PIKA_INGEST,
    FASTSTREAM_DELIVERY,
    FASTSTREAM_INGEST,
    GO,
    OURS,
    OVER_TLS,
    SIGNED,
)
from benchmarks.bench.figures import Role, Row, Section, ratio
from benchmarks.bench.goal import Goal, Judged, Read, Sections
from benchmarks.bench.groups import batches, delivery, growth, history, ingest, latency, soak, telemetry


def judged(sections: Sequence[Section]) -> Iterator[Judged]:
    """Yield each goal of the groups of a run."""
    by_name = {section.name: section for section in sections}
    for goal in GOALS:
        if goal.group in by_name:
            yield goal.judged(by_name)


def _rates(group: str, case: str, name: str, other: str) -> Read:
    """Read the ratio of the rates of two programs."""
    return lambda sections: _ratio(sections[group], case, name, other, lambda row: row.figures)


def _cpu_times(group: str, case: str, name: str, other: str) -> Read:
    """Read the ratio of the CPU times for an event of two programs."""
    return lambda sections: _ratio(sections[group], case, name, other, lambda row: row.cpu_us)


def _ratio(
    section: Section, case: str, name: str, other: str, figures: Callable[[Row], Sequence[float]]
) -> float | None:
    one, another = section.row(case, name), section.row(case, other)
    return None if one is None or another is None else ratio(figures(one), figures(another))


def _of_ceiling(group: str, case: str, name: str = OURS, *, share: float = 1.0) -> Read:
    """Read a share of the ratio of a program's rate to the ceiling."""

    def read(sections: Sections) -> float | None:
        row = sections[group].row(case, name)
        of_ceiling = None if row is None else sections[group].of_ceiling(row)
        return None if of_ceiling is None else share * of_ceiling

    return read


def _growth(sections: Sections) -> float | None:
    rows = [row for row in sections["growth"].rows if row.case.startswith(growth.INGEST) and not row.unit]
    return next((sections["growth"].of_ceiling(row) for row in rows if row.role is Role.OURS), None)


def _slowest_answer(sections: Sections) -> float | None:
    cases = (latency.COLLECTOR_ALONE, latency.WHOLE_WAY_202)
    rows = [row for row in sections["latency"].rows if row.case.startswith(cases) and row.case.endswith("p99")]
    return max((row.value for row in rows if row.role is Role.OURS), default=None)


def _added_us(group: str, case: str, without: str, with_it: str) -> Read:
    """Read the CPU time that something adds to an event, as the median of the pairs that were loaded at once."""

    def read(sections: Sections) -> float | None:
        less, more = (sections[group].row(case, name) for name in (without, with_it))
        if less is None or more is None or not less.cpu_us or not more.cpu_us:
            return None
        return median(with_us - without_us for with_us, without_us in zip(more.cpu_us, less.cpu_us, strict=True))

    return read


_telemetry_us = partial(_added_us, "telemetry", without=telemetry.WITHOUT, with_it=telemetry.IN_PRODUCTION)
_history_us = partial(_added_us, "history", without=history.WITHOUT, with_it=history.WITH)


def _most_memory(sections: Sections) -> float | None:
    ours = [row for row in sections["growth"].rows if row.role is Role.OURS and row.resident_mb]
    return max((median(row.resident_mb) for row in ours), default=None)


def _soak(case: str) -> Read:
    """Read the largest figure of both services."""
    return lambda sections: max((row.value for row in sections["soak"].rows if row.case.endswith(case)), default=None)


GOALS = (
    Goal(
        measure="ingest: CPU time for an event / Go's",
        group="ingest",
        must=1.25,
        aim=1.0,
        read=_cpu_times("ingest", ingest.HEADLINE, OURS, GO),
        is_limit=True,
        needs_go=True,
    ),
    Goal(
        measure="ingest: rate / Go's",
        group="ingest",
        must=0.85,
        aim=1.0,
        read=_rates("ingest", ingest.HEADLINE, OURS, GO),
        needs_go=True,
    ),
    Goal(
        measure="ingest: rate / aiohttp answering 202 (must: 0.90 of Go's ratio)",
        group="ingest",
        must=_of_ceiling("ingest", ingest.HEADLINE, GO, share=0.90),
        aim=0.65,
        read=_of_ceiling("ingest", ingest.HEADLINE),
        needs_go=True,
    ),
    Goal(
        measure="ingest: rate / aiohttp + aio-pika",
        group="ingest",
        must=2.6,
        aim=3.3,
        read=_rates("ingest", ingest.HEADLINE, OURS, AIO_PIKA_INGEST),
    ),
    Goal(
        measure="ingest: rate / FastAPI + FastStream",
        group="ingest",
        must=5.5,
        aim=7,
        read=_rates("ingest", ingest.HEADLINE, OURS, FASTSTREAM_INGEST),
    ),
    Goal(
        measure="ingest: rate with GitHub's signature / without",
        group="ingest",
        must=0.90,
        aim=0.95,
        read=_rates("ingest", ingest.HEADLINE, SIGNED, OURS),
    ),
    Goal(
        measure="delivery: CPU time for an event / Go's",
        group="delivery",
        must=1.5,
        aim=1.1,
        read=_cpu_times("delivery", delivery.CASE, OURS, GO),
        is_limit=True,
        needs_go=True,
    ),
    Goal(
        measure="delivery: rate / Go's",
        group="delivery",
        must=0.75,
        aim=1.0,
        read=_rates("delivery", delivery.CASE, OURS, GO),
        needs_go=True,
    ),
    Goal(
        measure="delivery: rate / aiohttp's client alone",
        group="delivery",
        must=0.70,
        aim=1.0,
        read=_of_ceiling("delivery", delivery.CASE),
    ),
    Goal(
        measure="delivery: CPU time for an event over TLS / without TLS",
        group="delivery",
        must=1.3,
        aim=1.15,
        read=_cpu_times("delivery", delivery.TLS_CASE, OVER_TLS, OURS),
        is_limit=True,
    ),
    Goal(
        measure="delivery: rate / FastStream + aiohttp",
        group="delivery",
        must=5,
        aim=7,
        read=_rates("delivery", delivery.CASE, OURS, FASTSTREAM_DELIVERY),
    ),
    Goal(
        measure="ingest in batches: rate / raw AMQP frames",
        group="batches",
        must=0.65,
        aim=0.80,
        read=_of_ceiling("batches", batches.CASE),
    ),
    Goal(
        measure="ingest: (rate with the largest backlog / with none) / the same of raw frames",
        group="growth",
        must=0.90,
        aim=0.98,
        read=_growth,
    ),
    Goal(
        measure="p99 of the 202 at half load",
        group="latency",
        must=15,
        aim=8,
        read=_slowest_answer,
        unit="ms",
        is_limit=True,
    ),
    Goal(
        measure="ingest: CPU time that metrics and 1 % of traces add to an event",
        group="telemetry",
        must=12,
        aim=6,
        read=_telemetry_us(case=telemetry.INGEST),
        unit="µs",
        is_limit=True,
    ),
    Goal(
        measure="delivery: CPU time that metrics and 1 % of traces add to an event",
        group="telemetry",
        must=12,
        aim=6,
        read=_telemetry_us(case=telemetry.DELIVERY),
        unit="µs",
        is_limit=True,
    ),
    *(
        Goal(
            measure=f"delivery: CPU time that a history in {store} adds to an event",
            group="history",
            must=must_us,
            aim=aim_us,
            read=_history_us(case=store),
            unit="µs",
            is_limit=True,
        )
        for store, must_us, aim_us in ((history.POSTGRESQL, 15, 12), (history.SQLITE, 25, 20))
    ),
    *(
        Goal(
            measure=f"delivery: rate with a history in {store} / without",
            group="history",
            must=0.85,
            aim=0.9,
            read=_rates("history", store, history.WITH, history.WITHOUT),
        )
        for store in (history.POSTGRESQL, history.SQLITE)
    ),
    Goal(
        measure="resident memory of a service at any backlog",
        group="growth",
        must=90,
        aim=80,
        read=_most_memory,
        unit=soak.MEMORY_UNIT,
        is_limit=True,
    ),
    Goal(
        measure="resident memory of a service at the end of the soak",
        group="soak",
        must=90,
        aim=80,
        read=_soak(soak.QUARTERS[-1]),
        unit=soak.MEMORY_UNIT,
        is_limit=True,
    ),
    Goal(
        measure="resident memory in the soak: last quarter / second quarter",
        group="soak",
        must=1.02,
        aim=1.0,
        read=_soak(soak.GROWTH),
        is_limit=True,
    ),
)
