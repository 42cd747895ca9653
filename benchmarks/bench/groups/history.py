"""Cost of the history in a processor, with each kind of store."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.bench.contestants import deliverers
from benchmarks.bench.contestants.deliverers import Deliverer
from benchmarks.bench.figures import MeasureError, Row, Section, rows_at_once
from benchmarks.bench.groups.delivery import delivered_at_once
from benchmarks.bench.instruments.loopback import get
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import Stage, sink
from eventflow.history.opening import open_history
from sandbox.database.provision import DatabaseNotAvailable, provide

WITHOUT = "no history"
WITH = "with it"
SQLITE = "SQLite"
POSTGRESQL = "PostgreSQL"
_TITLE = "Cost of the history: two processors loaded at once, the store on the same machine"


def measure(here: Stage) -> Section:
    """Measure a processor with a history at the same time as one without.

    They are loaded at once for the reason that `delivered_at_once` gives. The figures are those of a history that keeps
    up: if it has dropped a record, or if too many wait at the end, there is no figure.
    """
    section = Section(name="history", title=_TITLE)
    with Wire(here.broker_url) as wire, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        section.rows += _deliver_at_once(here, wire, SQLITE, f"sqlite:///{directory}/history.db")
        try:
            Path(directory).chmod(0o711)  # root starts PostgreSQL as another user
            with _postgresql(Path(directory, "postgresql")) as url:
                section.rows += _deliver_at_once(here, wire, POSTGRESQL, url)
        except DatabaseNotAvailable as error:
            section.problems.append(str(error))
    return section


@contextmanager
def _postgresql(directory: Path) -> Iterator[str]:
    with provide(directory) as database:
        asyncio.run(_migrate(database.url))
        yield database.url


async def _migrate(url: str) -> None:
    store = open_history(url)
    try:
        await store.migrate()
    finally:
        await store.close()


def _deliver_at_once(here: Stage, wire: Wire, store: str, url: str) -> Sequence[Row]:
    here.show_step(f"history: {store}")
    with sink() as none_url, sink() as one_url:
        none = deliverers.processor(here, none_url, name=WITHOUT)
        one = deliverers.processor(here, one_url, name=WITH, EVENTFLOW_HISTORY__URL=url)
        deliverers.declare(wire, one)
        samples = delivered_at_once(
            here,
            wire,
            ((none, none_url), (one, one_url)),
            rounds=2 * here.plan.rounds,
            check=partial(_require_complete, one),
        )
    return rows_at_once(store, (none.name, one.name), samples)


def _require_complete(processor: Deliverer) -> None:
    """Check that the history has kept up.

    Raises:
        MeasureError: It has not.
    """
    metrics = _metrics(processor)
    dropped, waiting, recorded = (
        metrics[f"eventflow_history_{name}"] for name in ("dropped_total", "pending", "recorded_total")
    )
    if dropped or not recorded or waiting > recorded / 10:
        raise MeasureError(
            f"the history did not keep up: {recorded:.0f} attempts on record, {waiting:.0f} wait, {dropped:.0f} dropped"
        )


def _metrics(processor: Deliverer) -> Mapping[str, float]:
    lines = get(processor.metrics_url).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("eventflow_history_"))
    return {name.partition("{")[0]: float(value) for name, value in pairs}
