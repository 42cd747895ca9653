"""The decision about each request, by the target's limit and behaviour."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sandbox.target.behaviour import Behaviour, Mode
from sandbox.target.ledger import Ledger
from sandbox.target.rates import LeakyBucket, Limit, StrictWindow

_FAILURES = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_LIMITS: dict[Mode, type[LeakyBucket | StrictWindow]] = {Mode.BUCKET: LeakyBucket, Mode.STRICT: StrictWindow}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer to a request, and its delay."""

    status: HTTPStatus
    after_s: float = 0.0
    retry_after_s: int | None = None


class Target:
    """Decides about each request, and holds the ledger.

    Args:
        keep_bodies: Whether to keep the last body of each event id, for byte-for-byte checks.
        seed: Seed of the random failures (`failure_ratio`).
        clock: Clock in monotonic seconds.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        keep_bodies: bool = False,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.ledger = Ledger()
        self.bodies: dict[str, bytes] = {}
        self._keep_bodies = keep_bodies
        self._dice = random.Random(seed)
        self._clock = clock
        self._limit = self._new_limit()

    def change(self, changes: dict[str, Any]) -> None:
        """Change the behaviour from now on. A limit of the same mode keeps its level.

        Raises:
            ValueError: See `Behaviour.changed`.
        """
        before, self.behaviour = self.behaviour, self.behaviour.changed(changes)
        rate, burst = self.behaviour.rate, self.behaviour.burst
        if self._limit is None or not rate or before.mode is not self.behaviour.mode:
            self._limit = self._new_limit()
        else:
            self._limit = self._limit.changed(self._clock(), rate_per_s=rate, burst=burst)

    def forget(self) -> None:
        """Start a new, empty audit."""
        self.ledger = Ledger()
        self.bodies.clear()

    def decide(self, event_id: str) -> Answer:
        """Decide about a request that arrives now."""
        behaviour = self.behaviour
        if behaviour.outage:
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE)
        wait_s = 0.0 if self._limit is None else self._limit.take(self._clock(), cost=behaviour.cost)
        if wait_s > 0:
            return Answer(status=HTTPStatus.TOO_MANY_REQUESTS, retry_after_s=max(1, math.ceil(wait_s)))
        if event_id in behaviour.fail_ids:
            return Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR, after_s=behaviour.latency_s)
        if self._dice.random() < behaviour.failure_ratio:
            return Answer(status=self._dice.choice(_FAILURES), after_s=behaviour.latency_s)
        return Answer(status=HTTPStatus.OK, after_s=behaviour.latency_s)

    def call_limit(self) -> str | None:
        """Return the value of Shopify's `X-Shopify-Shop-Api-Call-Limit`: level/size; None without a bucket."""
        if not isinstance(self._limit, LeakyBucket):
            return None
        return f"{math.ceil(self._limit.level(self._clock()))}/{math.floor(self.behaviour.burst)}"

    def keep(self, event_id: str, body: bytes) -> None:
        """Keep a body if `keep_bodies` is set."""
        if self._keep_bodies:
            self.bodies[event_id] = body

    def _new_limit(self) -> Limit | None:
        behaviour = self.behaviour
        if not behaviour.rate:
            return None
        return _LIMITS[behaviour.mode](rate_per_s=behaviour.rate, burst=behaviour.burst)
