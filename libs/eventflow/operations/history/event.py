"""The attempts of one event on record, with the gaps that may hide others of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from eventflow.errors import HistoryError
from eventflow.event import utc_now
from eventflow.history.documents import document_of, gap_document
from eventflow.history.records import AttemptRecord, Gap
from eventflow.history.store import ArchiveStore
from eventflow.operations.history.session import in_time, opened
from eventflow.settings.history import HistorySettings

ATTEMPTS_MAX = 1000
GAPS_OF_UNKNOWN = timedelta(days=1)
"""If an event is not on record, the gaps of this time until now may be the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHistory:
    """The attempts of one event, in all flows or in one, the oldest first.

    Attributes:
        gaps: Gaps in the time of its attempts, or of the last day if there are none.
        unavailable: The reason why the history could not be read; None if it was.
    """

    attempts: Sequence[AttemptRecord] = ()
    gaps: Sequence[Gap] = ()
    unavailable: str | None = None

    @property
    def flows(self) -> Sequence[str]:
        """The flows with an attempt of the event."""
        return sorted({attempt.flow for attempt in self.attempts})


async def event_history(
    store: ArchiveStore, event_id: str, *, flow: str | None = None, flows: Sequence[str] = ()
) -> EventHistory:
    """Read the attempts of an event.

    Args:
        store: An open store.
        event_id: Id of the event.
        flow: The flow of the attempts; None is all flows.
        flows: If no attempt is found, the gaps of these flows are read.

    Raises:
        HistoryError: The store cannot be read.
    """
    attempts = await store.attempts_of(event_id, flow=flow, limit=ATTEMPTS_MAX)
    now = utc_now()
    since = min((attempt.accepted_at or attempt.started_at for attempt in attempts), default=now - GAPS_OF_UNKNOWN)
    of_flows = sorted({attempt.flow for attempt in attempts}) or flows
    gaps = [gap for each in of_flows for gap in await store.gaps(each, since=since, until=now)]
    return EventHistory(attempts=attempts, gaps=gaps)


async def find_in_history(settings: HistorySettings, event_id: str, *, flow: str) -> EventHistory | None:
    """Search the history beside other places: it answers within 2 s or is unavailable; None if none is configured."""
    if settings.url is None:
        return None
    try:
        async with opened(settings) as store, in_time():
            return await event_history(store, event_id, flows=(flow,))
    except HistoryError as error:
        return EventHistory(unavailable=str(error))


def history_document(history: EventHistory) -> Mapping[str, Any]:
    """Return the history of an event as a JSON object."""
    return {
        "attempts": [document_of(attempt) for attempt in history.attempts],
        "gaps": [gap_document(gap) for gap in history.gaps],
        "unavailable": history.unavailable,
    }
