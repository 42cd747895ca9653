"""The target as a handler uses it. Pure: HTTP, or anything else that takes events, is an adapter of this port."""

from collections.abc import Callable
from typing import Protocol

from eventflow.message import Envelope
from eventflow_processor.target.result import Result

OnResult = Callable[[Result], None]
"""Takes the result of an attempt. It never raises."""

Charge = Callable[[Callable[[], None]], None]
"""Asks for one more request within an attempt, such as on a new connection. The request may go out when the function
that is passed is called. If it may not go out at all, the attempt is abandoned instead."""


class Attempt(Protocol):
    """One attempt that has begun."""

    def abandon(self) -> None:
        """End the attempt as soon as possible, without a result. Nothing happens if it has ended."""
        ...


class Target(Protocol):
    """Takes events, one attempt at a time for each, any number of attempts at once."""

    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> Attempt:
        """Begin an attempt and return at once.

        Guarantee: `on_result` is called exactly once, whatever happens, unless the attempt is abandoned before. An
        error of our own is a result too, and nothing is raised. A quick target may call before this returns.
        """
        ...
