"""The recording of a processor: its parts by the settings, and its metrics."""

from typing import Any

import pytest
from pydantic import SecretStr

from eventflow.settings.history import HistorySettings
from eventflow.telemetry.metrics import exposition_of
from eventflow_processor.observe.history_metrics import HistoryMetrics
from eventflow_processor.observe.metrics import ProcessorMetrics
from eventflow_processor.recording import Recording
from tests.support.attempts import attempted
from tests.support.memory_history import MemoryStore


def recording(metrics: ProcessorMetrics, **settings: Any) -> Recording:
    own = HistoryMetrics(metrics.registry, flows=["a", "b"], internal_errors=metrics.internal_errors)
    history = HistorySettings(url=SecretStr("sqlite:///h.db"), **settings)
    return Recording.of(history, MemoryStore, instance="w", metrics=own)


@pytest.mark.parametrize(
    ("settings", "of_failures", "of_successes"),
    [
        ({}, True, False),
        ({"answers": "none"}, False, False),
        ({"answers": "all"}, True, True),
        ({"answers": "all", "record": "failed"}, True, False),  # a success has no row
    ],
)
async def test_the_settings_select_the_answers_that_are_kept(
    settings: dict[str, Any], of_failures: bool, of_successes: bool
) -> None:
    keeping = recording(ProcessorMetrics(), **settings).keeping
    assert (keeping is not None) == of_failures
    assert (keeping is not None and keeping.of_successes) == of_successes


async def test_metrics_follow_the_writer() -> None:
    metrics = ProcessorMetrics()
    parts = recording(metrics)
    metrics.on_refresh(parts.refresh)
    for _ in range(3):
        parts.observer("a").attempted(attempted(None))
    await metrics.refresh()
    assert metrics.registry.get_sample_value("eventflow_history_pending") == 3
    parts.writer.start()
    await parts.writer.finish()
    parts.metrics.dropped("b", 2)
    await metrics.refresh()
    values = [
        metrics.registry.get_sample_value(f"eventflow_history_{name}", labels)
        for name, labels in (
            ("recorded_total", {"flow": "a"}),
            ("dropped_total", {"flow": "a"}),
            ("dropped_total", {"flow": "b"}),
            ("pending", {}),
            ("up", {}),
            ("write_seconds_count", {}),
        )
    ]
    assert values == [3, 0, 2, 0, 1, 1]


async def test_a_processor_without_a_history_exports_no_metric_of_one() -> None:
    assert b"eventflow_history" not in exposition_of(ProcessorMetrics().registry)("").body
