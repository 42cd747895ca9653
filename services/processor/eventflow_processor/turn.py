"""The turn of a delivery: its state while it holds a slot, from the start of its attempt to its settlement."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from eventflow.delivery import Delivery
from eventflow.outcome import Outcome
from eventflow_processor.attempt import Spans
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.target.port import Attempt
from eventflow_processor.target.result import Result


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """One attempt of a delivery from its start to its settlement. Observers read it as an `Attempted`.

    Attributes:
        entered: The pass by which the gate admitted it; None after the pass was returned to the gate.
        on_end: Called once, at the end of the turn, to free its slot.
        spans: The spans of the attempt; None if its trace is not recorded.
        attempt: The attempt at the target; None before it and after the turn.
        waiting: The task for a wait other than that for the target, such as for a confirm.
        result: The result of the request; None until there is one.
        is_in_flight: Whether the attempt has not ended yet.
        ended_s: Time of its end: of the result, or of the internal error that ended it.
        outcome: The outcome of the delivery; None until it is settled, and if it is not.
        error: The reason why it was not settled, or the internal error that caused the outcome.
        settled_s: Time at which the outcome was known.
        is_over: Whether `on_end` has been called. After that the turn changes nothing.
    """

    delivery: Delivery
    entered: Pass | None
    on_end: "Callable[[Turn], None]"
    spans: Spans | None = None
    started_at_ns: int = field(default_factory=time.time_ns)
    started_s: float = field(default_factory=time.monotonic)
    attempt: Attempt | None = None
    waiting: asyncio.Task[None] | None = None
    result: Result | None = None
    is_in_flight: bool = True
    ended_s: float = 0.0
    outcome: Outcome | None = None
    error: Exception | None = None
    settled_s: float = 0.0
    is_over: bool = False

    @property
    def duration_s(self) -> float:
        """Time from the start of the attempt to its end."""
        return self.ended_s - self.started_s

    @property
    def settlement_s(self) -> float:
        """Time from the end of the attempt to the settlement."""
        return self.settled_s - self.ended_s

    def end_attempt(self) -> None:
        """Note that the attempt ends now."""
        self.ended_s, self.is_in_flight = time.monotonic(), False

    def settle(self, outcome: Outcome | None, error: Exception | None) -> None:
        """Note that the delivery has just been settled or is lost; from here on observers may read the turn."""
        if self.is_in_flight:
            self.end_attempt()
        self.outcome, self.error, self.settled_s = outcome, error, time.monotonic()

    def close(self) -> None:
        """Note that the turn is over, and drop the attempt or the task that it waited for.

        An attempt refers to its turn by its callbacks. So a turn that kept its attempt would be a cycle, which only the
        garbage collector frees, and with it the body of the event: after a thousand turns or more, since it runs so
        seldom here.
        """
        self.is_over = True
        self.attempt = self.waiting = None
