"""Records of attempts for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from eventflow.event import new_event_id
from eventflow.history.records import AttemptRecord

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def attempt(**fields: Any) -> AttemptRecord:
    """A successful attempt at noon; `fields` are the others."""
    usual: dict[str, Any] = {
        "id": new_event_id(),
        "flow": "default",
        "event_id": "order-1",
        "type": "order.paid",
        "source": "https://shop.example/",
        "subject": None,
        "accepted_at": NOON - timedelta(seconds=1),
        "started_at": NOON,
        "duration_us": 12_345,
        "attempt": 1,
        "lane": "events",
        "outcome": "delivered",
        "settled": True,
        "reason": None,
        "detail": None,
        "text": None,
        "status": 200,
        "next_at": None,
        "answer": None,
        "answer_type": None,
        "answer_bytes": None,
        "trace_id": None,
        "writer": "processor-1",
    }
    return AttemptRecord(**usual | fields)
