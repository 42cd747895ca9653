"""Exceptions by which a handler decides about its event. Every other exception is a failure, which is retried. Pure."""


class Reject(Exception):  # noqa: N818 - an order, not an error
    """Give the event up now: it becomes a dead letter with this reason, and nothing is changed in the database."""

    def __init__(self, reason: str) -> None:
        """Name the reason, for people."""
        super().__init__(reason)
        self.reason = reason


class RetryLater(Exception):  # noqa: N818 - an order, not an error
    """Call again later, without counting this attempt, and without a change in the database."""

    def __init__(self, seconds: float) -> None:
        """Name the shortest delay. The event waits in the next longer of the flow's retry delays, or in the longest."""
        super().__init__(f"in {seconds:g} s")
        self.seconds = seconds
