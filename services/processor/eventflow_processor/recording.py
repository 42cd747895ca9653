"""The recording of attempts for the history: the parts that all flows of a processor share, built from the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from eventflow.history.buffer import HistoryBuffer
from eventflow.history.writer import HistoryWriter, OwnStore, Retention
from eventflow.settings.history import HistorySettings
from eventflow_processor.observe.history import HistoryObserver, RecordIds
from eventflow_processor.observe.history_metrics import HistoryMetrics
from eventflow_processor.target.kept_answer import AnswerKeeping
from eventflow_processor.target.redaction import Patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Parts of a processor that has a history.

    Attributes:
        buffer: The records of all flows that wait.
        writer: Writes them.
        keeping: The answers that are kept; None if none is.
        failures_only: Whether successes are counted, and not recorded.
        instance: Name of this process.
        ids: Makes the ids of its records.
        metrics: Its metrics.
    """

    buffer: HistoryBuffer
    writer: HistoryWriter
    keeping: AnswerKeeping | None
    failures_only: bool
    instance: str
    ids: RecordIds
    metrics: HistoryMetrics

    @classmethod
    def of(
        cls, settings: HistorySettings, open_store: Callable[[], OwnStore], *, instance: str, metrics: HistoryMetrics
    ) -> "Recording":
        """Build the parts. Nothing is written before the writer is started."""
        buffer = HistoryBuffer(writer=instance, max_bytes=settings.buffer_bytes, on_dropped=metrics.dropped)
        writer = HistoryWriter(
            buffer,
            open_store,
            name=instance,
            flush_s=settings.flush_s,
            retention=Retention(
                attempts=timedelta(days=settings.retention_days),
                minutes=timedelta(days=settings.minutes_retention_days),
            ),
            listener=metrics,
        )
        return cls(
            buffer=buffer,
            writer=writer,
            keeping=_keeping_of(settings),
            failures_only=settings.record == "failed",
            instance=instance,
            ids=RecordIds(),
            metrics=metrics,
        )

    def observer(self, flow: str) -> HistoryObserver:
        """Return the observer of a flow."""
        return HistoryObserver(
            self.buffer, flow=flow, writer=self.instance, ids=self.ids, failures_only=self.failures_only
        )

    def refresh(self) -> None:
        """Bring the gauge of waiting rows up to date."""
        self.metrics.pending.set(self.writer.pending)


def _keeping_of(settings: HistorySettings) -> AnswerKeeping | None:
    if settings.answers == "none":
        return None
    return AnswerKeeping(
        max_bytes=settings.answer_bytes,
        of_successes=settings.answers == "all" and settings.record == "all",  # else they have no row
        patterns=Patterns(settings.redact),
    )
