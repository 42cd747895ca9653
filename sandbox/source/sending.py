"""Sends events at a rate that does not depend on the answers, and reports the result of each."""

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp

from sandbox.source.bodies import SAMPLES, Body, read_directory

_RETRY_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Events to send, and their schedule.

    Attributes:
        url: URL of the collector's `/events`.
        count: Number of events; the bodies are used in turn.
        rate_per_s: Events per second; None sends as fast as the concurrency allows.
        burst: Events sent at one moment; the moments are `burst / rate_per_s` apart.
        concurrency: Largest number of requests in flight. If it is too small for the rate, sending falls behind, and
            the report contains the delay.
        retries: Number of times that an event is sent again if it was not accepted, with the same id.
    """

    url: str
    count: int
    rate_per_s: float | None = None
    burst: int = 1
    concurrency: int = 32
    bodies: Sequence[Body] = field(default_factory=lambda: read_directory(SAMPLES))
    api_key: str | None = None
    flow: str | None = None
    timeout_s: float = 10.0
    retries: int = 0

    @property
    def flow_url(self) -> str:
        """URL that the events are posted to: `url`, with the flow's name if one is given."""
        return self.url if self.flow is None else f"{self.url.rstrip('/')}/{self.flow}"

    def due_s(self, index: int) -> float:
        """Return the planned time of an event, in seconds after the start."""
        return 0.0 if self.rate_per_s is None else index // self.burst * self.burst / self.rate_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One event that was sent, with its result.

    Attributes:
        status: Status of the last answer; None if there was none.
        problem: Reason for which it was not accepted; empty if it was.
        latency_s: Time from its planned moment to its last answer.
        late_s: Time from its planned moment to its sending.
    """

    event_id: str
    body: str
    status: int | None
    problem: str
    latency_s: float
    late_s: float

    @property
    def accepted(self) -> bool:
        """Whether the last answer was 202."""
        return not self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Results of all events, in the order of the answers."""

    sent: Sequence[Sent]
    duration_s: float

    @property
    def accepted_ids(self) -> set[str]:
        """Ids of the events answered 202: none of them may be lost."""
        return {sent.event_id for sent in self.sent if sent.accepted}

    @property
    def refused_ids(self) -> set[str]:
        """Ids of the other events. They may still arrive, if only the answer was lost."""
        return {sent.event_id for sent in self.sent if not sent.accepted}

    @property
    def problems(self) -> Counter[str]:
        """Number of events that were not accepted, by reason."""
        return Counter(sent.problem for sent in self.sent if sent.problem)

    @property
    def max_late_s(self) -> float:
        """Longest delay between the planned and the actual moment of sending; 0 if nothing was sent."""
        return max((sent.late_s for sent in self.sent), default=0.0)

    def latency_s(self, quantile: float) -> float:
        """Return a quantile of the latency of answered events; NaN if there are none."""
        latencies = sorted(sent.latency_s for sent in self.sent if sent.status is not None)
        if not latencies:
            return float("nan")
        return latencies[min(len(latencies) - 1, int(quantile * len(latencies)))]


async def send(
    plan: Plan,
    *,
    on_sent: Callable[[Sent], None] = lambda _: None,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    stop: asyncio.Event | None = None,
) -> Report:
    """Send the events of a plan and return their results.

    The load is open-loop: an event is sent at its planned moment even if earlier answers are slow, up to
    `plan.concurrency` requests at a time. Its latency counts from the planned moment, so that a delay of the sender is
    not hidden.

    Args:
        on_sent: Called with each result.
        new_id: Creates the ids, which are sent as `Idempotency-Key`.
        stop: Ends the sending when it is set; answers to requests in flight are still awaited.
    """
    started_s = time.monotonic()
    sent: list[Sent] = []
    indices = iter(range(plan.count))

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=plan.concurrency),
        timeout=aiohttp.ClientTimeout(total=plan.timeout_s),
        trust_env=False,
    ) as session:

        async def send_due(indices: Iterator[int]) -> None:
            for index in indices:
                due_s = started_s + plan.due_s(index)
                if await _stopped_within(due_s - time.monotonic(), stop):
                    return
                result = await _send_one(session, plan, index, new_id(), due_s)
                sent.append(result)
                on_sent(result)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(plan.concurrency, plan.count)):
                group.create_task(send_due(indices))
    return Report(sent=sent, duration_s=time.monotonic() - started_s)


async def _stopped_within(pause_s: float, stop: asyncio.Event | None) -> bool:
    """Sleep, and return whether the stop was set by then."""
    if stop is None:
        await asyncio.sleep(pause_s)
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, pause_s)):
            await stop.wait()
    return stop.is_set()


async def _send_one(session: aiohttp.ClientSession, plan: Plan, index: int, event_id: str, due_s: float) -> Sent:
    body = plan.bodies[index % len(plan.bodies)]
    late_s = max(0.0, time.monotonic() - due_s)
    status, problem = await _post(session, plan, body, event_id)
    for retry in range(plan.retries):
        if not problem:
            break
        await asyncio.sleep(_RETRY_PAUSE_S * 2**retry)
        status, problem = await _post(session, plan, body, event_id)
    return Sent(
        event_id=event_id,
        body=body.name,
        status=status,
        problem=problem,
        latency_s=time.monotonic() - due_s,
        late_s=late_s,
    )


async def _post(session: aiohttp.ClientSession, plan: Plan, body: Body, event_id: str) -> tuple[int | None, str]:
    """Return the status of the answer, None without one, and the reason for which the event was not accepted."""
    headers = {**body.headers, "Content-Type": body.content_type, "Idempotency-Key": event_id}
    if plan.api_key is not None:
        headers["X-Api-Key"] = plan.api_key
    try:
        async with session.post(plan.flow_url, data=body.content, headers=headers, allow_redirects=False) as response:
            text = await response.text(errors="replace")
            if response.status == HTTPStatus.ACCEPTED:
                return response.status, ""
            return response.status, f"{response.status} {_reason(response, text)}"
    except TimeoutError:
        return None, f"no answer within {plan.timeout_s:g} s"
    except aiohttp.ClientError as error:
        return None, f"no answer: {type(error).__name__}"


def _reason(response: aiohttp.ClientResponse, text: str) -> str:
    """Return the detail of a problem document, or the reason phrase of the status line."""
    if response.content_type != "application/problem+json":
        return response.reason or ""
    try:
        problem = json.loads(text)
    except ValueError:
        return response.reason or ""
    if not isinstance(problem, dict):
        return response.reason or ""
    return str(problem.get("detail") or problem.get("title") or "")
