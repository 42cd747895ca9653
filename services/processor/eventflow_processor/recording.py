"""The recording of attempts for the history: the parts that all flows of a processor share, built from the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from eventflow.history.buffer import HistoryBuffer
from eventflow.history.writer import HistoryWriter, OwnStore, Retention
from eventflow.settings.history import HistorySettings
from eventflow_processor.observe.history import AttemptNotes, HistoryObserver
from eventflow_processor.observe.history_metrics import HistoryMetrics
from eventflow_processor.target.kept_answer import AnswerKeeping
from eventflow_processor.target.redaction import Patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Parts of a processor that has a history.

    Attributes:
        notes: Gets the attempts of all flows.
        writer: Writes their records.
        keeping: The answers that are kept; None if none is.
        metrics: Its metrics.
    """

    notes: AttemptNotes
    writer: HistoryWriter
    keeping: AnswerKeeping | None
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
            notes=AttemptNotes(
                buffer, writer=instance, failures_only=settings.record == "failed", on_error=metrics.failed
            ),
            writer=writer,
            keeping=_keeping_of(settings, metrics),
            metrics=metrics,
        )

    def observer(self, flow: str) -> HistoryObserver:
        """Return the observer of a flow."""
        return HistoryObserver(self.notes, flow=flow)

    def refresh(self) -> None:
        """Bring the gauge of waiting rows up to date."""
        self.notes.record()  # so that they are counted
        self.metrics.pending.set(self.writer.pending)


def _keeping_of(settings: HistorySettings, metrics: HistoryMetrics) -> AnswerKeeping | None:
    if settings.answers == "none":
        return None
    return AnswerKeeping(
        max_bytes=settings.answer_bytes,
        of_successes=settings.answers == "all" and settings.record == "all",  # else they have no row
        patterns=Patterns(settings.redact),
        on_error=metrics.failed,
    )
