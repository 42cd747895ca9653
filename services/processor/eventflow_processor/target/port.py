"""The port of a target, as the turns of a flow use it. Pure: HTTP, or any other way to send, is an adapter of it."""

from collections.abc import Callable
from typing import Protocol

from eventflow.message import Envelope
from eventflow_processor.target.result import Result

OnResult = Callable[[Result], None]
"""Takes the result of an attempt. It never raises."""

Charge = Callable[[Callable[[], None]], None]
"""Asks for one more request within an attempt, such as on a new connection. The request may be sent when the function
in the argument is called. If it may not be sent at all, the attempt is abandoned instead."""


class Attempt(Protocol):
    """One attempt that has begun."""

    def abandon(self) -> None:
        """End the attempt as soon as possible, without a result. Nothing happens if it has ended."""
        ...


class Target(Protocol):
    """Accepts events: one attempt at a time for each event, and any number of events at once."""

    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> Attempt:
        """Begin an attempt and return at once.

        Guarantee: `on_result` is called exactly once, unless the attempt is abandoned before. An internal error is a
        result too, and nothing is raised. A quick target may call it before this returns.
        """
        ...
