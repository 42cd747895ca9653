"""The whole history of a flow, as a store has it."""

from datetime import timedelta

from eventflow.event import utc_now
from eventflow.history.filters import AttemptFilter, Cursor
from eventflow.history.opening import open_history
from eventflow.history.records import AttemptRecord, Gap, MinuteCount, Writer


class Recorded:
    """All that a store has of a flow."""

    def __init__(
        self, rows: list[AttemptRecord], gaps: list[Gap], minutes: list[MinuteCount], writers: list[Writer]
    ) -> None:
        self.rows, self.gaps, self.minutes, self.writers = rows, gaps, minutes, writers

    @property
    def attempts(self) -> int:
        """Attempts with a row or in a gap; each row must be there once."""
        assert len({row.id for row in self.rows}) == len(self.rows)
        return len(self.rows) + sum(gap.attempts for gap in self.gaps)

    @property
    def counted(self) -> int:
        return sum(count.attempts for count in self.minutes)


async def recorded(url: str, flow: str) -> Recorded:
    """Read the store as an operator does, page by page."""
    store = open_history(url)
    since, until = utc_now() - timedelta(hours=1), utc_now() + timedelta(minutes=1)
    try:
        rows: list[AttemptRecord] = []
        while page := await store.attempts(
            AttemptFilter(flow=flow), after=Cursor(rows[-1].started_at, rows[-1].id) if rows else None, limit=200
        ):
            rows += page
        return Recorded(
            rows,
            await store.gaps(flow, since=since, until=until),
            await store.minutes(flow, since=since, until=until),
            await store.writers(),
        )
    finally:
        await store.close()
