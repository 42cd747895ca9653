"""Load from outside the cluster: an open-loop sender with an account of every request.

A request is sent at its planned moment even if earlier answers are slow, and never repeated: an event without a 202 is
refused, although a real sender would send it again.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.availability.connection import Address, Connection

TICK_S = 0.002
ANSWER_WITHIN_S = 15.0
IN_FLIGHT_MAX = 10_000
"""Most requests without an answer. Each has a file descriptor, and the rest of the test needs some too."""

KEPT = 16
"""Smallest number of kept connections, so that a balancer that chooses by connection uses all collectors."""

IDLE_MAX_S = 5.0
"""Longest time without a request on a kept connection that is used again. Balancers close idle ones at some time."""

BODY = b'{"some": "event"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Result of one request.

    Attributes:
        sent_s: Start of the request, with its connection, by the monotonic clock.
        wait_s: Time until the whole answer was there, or until the request failed.
        problem: Status other than 202, or the reason for which there was no answer; empty for a 202.
    """

    event_id: str
    sent_s: float
    wait_s: float
    problem: str


class Load:
    """Posts events at a rate, some on kept connections and the others each on a connection of its own.

    Args:
        fresh_share: Share of the requests that open a connection of their own.
    """

    def __init__(self, to: Address, *, api_key: str, rate_per_s: float, fresh_share: float = 0.5) -> None:
        self.rate_per_s = rate_per_s
        self.fresh_share = fresh_share
        self.answers: list[Answer] = []
        self.accepted: set[str] = set()
        """Ids of the events that were answered 202."""
        self.refused: set[str] = set()
        """Ids of the other events. They may arrive all the same."""
        self.late_s = 0.0
        """Longest delay of a request behind its planned moment: a sign that this machine is too busy to measure."""
        self._to = to
        self.api_key = api_key
        self._run = secrets.token_hex(4)
        self._sent = 0
        self._fresh = 0.0
        self._idle: dict[Connection, float] = {}  # by the times of their last answers, the oldest first
        self._kept: set[Connection] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._pacing: asyncio.Task[None] | None = None
        self.started_s = 0.0
        self.stopped_s = 0.0

    @property
    def problems(self) -> Counter[str]:
        """Number of refused events, by reason."""
        return Counter(answer.problem for answer in self.answers if answer.problem)

    @property
    def in_flight(self) -> int:
        """Number of requests without an answer yet."""
        return len(self._requests)

    def own(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Return the counts of events of this load."""
        return {event_id: count for event_id, count in counts.items() if event_id.startswith(f"{self._run}-")}

    def longest_wait_s(self) -> float:
        """Return the longest wait for a 202."""
        return max((answer.wait_s for answer in self.answers if not answer.problem), default=0.0)

    def start(self) -> None:
        """Begin to send."""
        self.started_s = time.monotonic()
        self._pacing = asyncio.create_task(self._pace())

    async def stop(self) -> None:
        """Send no more, and wait for the answers that are due."""
        if self._pacing is None:
            return
        self._pacing.cancel()
        await asyncio.gather(self._pacing, return_exceptions=True)
        self._pacing = None
        self.stopped_s = time.monotonic()
        await asyncio.gather(*self._requests)
        for connection in tuple(self._kept):
            connection.close()

    async def _pace(self) -> None:
        due, last_s = 0.0, time.monotonic()
        while True:
            now_s = time.monotonic()
            due, last_s = due + (now_s - last_s) * self.rate_per_s, now_s
            self.late_s = max(self.late_s, int(due) / self.rate_per_s)
            while due >= 1:
                due -= 1
                self._begin()
            await asyncio.sleep(TICK_S)

    def _begin(self) -> None:
        self._sent += 1
        self._fresh += self.fresh_share
        keeps = self._fresh < 1
        self._fresh -= not keeps
        request = asyncio.create_task(self._request(f"{self._run}-{self._sent}", keeps=keeps))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _request(self, event_id: str, *, keeps: bool) -> None:
        sent_s = time.monotonic()
        if self.in_flight > IN_FLIGHT_MAX:
            problem = f"not sent: {IN_FLIGHT_MAX} requests had no answer"
        else:
            problem = await self._answer(event_id, keeps=keeps)
        wait_s = time.monotonic() - sent_s
        self.answers.append(Answer(event_id=event_id, sent_s=sent_s, wait_s=wait_s, problem=problem))
        (self.refused if problem else self.accepted).add(event_id)

    async def _answer(self, event_id: str, *, keeps: bool) -> str:
        connection = self._idle_connection() if keeps and len(self._kept) >= KEPT else None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                connection = connection or await self._connect(keeps=keeps)
                return await connection.post(self._to.request(event_id, BODY, api_key=self.api_key, keeps=keeps))
        except TimeoutError:
            if connection is not None:
                connection.close()
            return f"no answer within {ANSWER_WITHIN_S:g} s"
        except OSError as error:
            return f"no connection: {type(error).__name__}"

    def _idle_connection(self) -> Connection | None:
        """Return the connection with the oldest answer, so that all are used; close those that are too old."""
        while self._idle:
            connection = next(iter(self._idle))
            if time.monotonic() - self._idle.pop(connection) < IDLE_MAX_S:
                return connection
            connection.close()
        return None

    async def _connect(self, *, keeps: bool) -> Connection:
        connection = await Connection.open(self._to, keeps=keeps, on_free=self._free, on_lost=self._forget)
        if keeps:
            self._kept.add(connection)
        return connection

    def _free(self, connection: Connection) -> None:
        self._idle[connection] = time.monotonic()

    def _forget(self, connection: Connection) -> None:
        self._kept.discard(connection)
        self._idle.pop(connection, None)
