"""A flow as it is now: its standing, the causes, and each step on the path of its events."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from eventflow.operations.causes import cause_in_words
from eventflow.operations.status.standing import Standing
from eventflow_console.pages import words
from eventflow_console.pages.views.frame import Tone
from eventflow_console.present import FlowState

_TONES: Final[Mapping[Standing, Tone]] = {
    Standing.FLOWING: "good",
    Standing.THROTTLED: "slow",
    Standing.PAUSED: "slow",
    Standing.UNKNOWN: "idle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that stops or slows a flow.

    Attributes:
        since: Its start; None if it is unknown.
        until: Its end; None if it is unknown.
    """

    tone: Tone
    title: str
    detail: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FlowView:
    """A flow in the words of a page.

    Attributes:
        state: Its state.
        failed: Attempts that failed in the last hour; None if they are unknown.
    """

    state: FlowState
    failed: int | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.flow

    @property
    def tone(self) -> Tone:
        """The colour of its standing."""
        return _TONES.get(self.state.standing, "bad")

    @property
    def causes(self) -> Sequence[Cause]:
        """Everything that stops or slows it: several things can at once."""
        return list(_causes_of(self.state))

    @property
    def lanes(self) -> Sequence[tuple[str, int | None]]:
        """Events ready in each lane."""
        return (("Live", self.state.live), ("Due", self.state.due), ("Replay", self.state.replay))

    @property
    def waiting_at_least(self) -> int | None:
        """A lower bound of the events that wait, if the number of held ones is unknown; None if it is known."""
        known = [count for _, count in self.lanes if count is not None]
        return sum(known) if known and self.state.waiting is None else None

    @property
    def collectors(self) -> str:
        """The number of ready collectors: `2 of 2 ready`."""
        return _ready_of([collector.is_ready for collector in self.state.collectors]) or "none answered"

    @property
    def spool(self) -> str:
        """The events in the spools: `empty`, `12 events`, or `none` if no collector has a spool."""
        if self.state.spool is not None:
            return words.counted(self.state.spool.events, "event") if self.state.spool.events else "empty"
        return "none" if self.state.collectors else words.UNKNOWN

    @property
    def processors(self) -> str:
        """The number of ready processors, and of silent ones."""
        answered = [processor.is_ready for processor in self.state.processors]
        silent: list[bool | None] = [None] * self.state.silent
        if self.state.standing is Standing.NO_PROCESSOR:
            return "none"
        return _ready_of([*answered, *silent]) or words.UNKNOWN

    @property
    def share_per_s(self) -> float | None:
        """The part of the quota that each processor may use."""
        shares = [each.share_per_s for each in self.state.processors if each.share_per_s is not None]
        return max(shares, default=None)

    @property
    def used_per_s(self) -> float | None:
        """Units of the quota that attempts used lately; None if they are unknown."""
        departures = self.state.departure_per_s
        return None if departures is None else departures * self.state.rate.cost

    @property
    def used_part(self) -> float | None:
        """The used part of the quota, from 0 to 1; None if it is unknown or if there is no limit."""
        limit, used = self.state.rate.now_per_s, self.used_per_s
        if limit is None or used is None or math.isinf(limit) or limit <= 0:
            return None
        return min(1.0, used / limit)

    @property
    def target(self) -> tuple[str, Tone]:
        """The state of the target in a few words, and its colour."""
        match None if self.state.target is None else self.state.target.state:
            case None:
                return "unknown", "idle"
            case "up":
                return ("up", "good") if self.state.throttled_until is None else ("asks to wait", "slow")
            case "blocked":
                return "refuses every event", "bad"
            case state:
                return state, "bad"

    @property
    def breaker(self) -> str:
        """The state of the breaker."""
        if self.state.target is None:
            return words.UNKNOWN
        return "closed" if self.state.target.state == "up" else "open"

    @property
    def delays(self) -> Sequence[tuple[str, int]]:
        """Events by the delay of their retry, without empty queues."""
        return [(words.duration(retry.delay_s), retry.events) for retry in self.state.retries if retry.events]


def _ready_of(states: Sequence[bool | None]) -> str:
    return f"{sum(state is True for state in states)} of {len(states)} ready" if states else ""


def _causes_of(state: FlowState) -> Iterator[Cause]:
    if state.is_paused:
        by = state.paused_by or "an unknown operator"
        yield Cause(
            tone="slow",
            title="Paused",
            detail=f"By {by}. Nothing is sent until the flow is resumed.",
            since=state.paused_at,
        )
    if state.standing is Standing.NO_PROCESSOR:
        yield Cause(tone="bad", title="No processor is running", detail="Events wait in RabbitMQ until one is started.")
    if (target := state.target) is not None and target.state != "up":
        refuses = f"The target refuses every event with HTTP {target.status}"
        yield Cause(
            tone="bad",
            title=refuses if target.state == "blocked" else f"The target is {target.state}",
            detail="" if target.failure is None else cause_in_words(**asdict(target.failure)),
            since=target.since,
        )
    for processor in state.processors:
        if processor.blocked_by is not None:
            detail = f"{processor.name}: {processor.blocked_by}. The log event internal.error has the details."
            yield Cause(tone="bad", title="Internal errors", detail=detail)
        elif processor.obstacles:
            detail = f"{processor.name}: {'; '.join(processor.obstacles)}"
            yield Cause(tone="slow", title="A processor is not ready", detail=detail)
    if state.throttled_until is not None:
        yield Cause(tone="slow", title="The target asked to wait", until=state.throttled_until)
    if state.spool is not None and state.spool.failing:
        yield Cause(
            tone="bad", title="The disk of a spool fails", detail="No event can be spooled while RabbitMQ is away."
        )
    for line in state.losses:
        yield Cause(tone="bad", title="Events may be lost", detail=line)
