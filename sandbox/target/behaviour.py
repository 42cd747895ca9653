"""Behaviour of the target, which can be changed while it runs."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Mode(StrEnum):
    """Kind of rate limit."""

    BUCKET = "bucket"
    """Leaky bucket as at Shopify: it holds `burst` units and leaks `rate` units per second."""
    STRICT = "strict"
    """At most `rate + burst` units in any window of 1 s."""


class Behaviour(BaseModel):
    """Behaviour of the target. A request above the limit gets 429 and a `Retry-After`.

    Attributes:
        mode: Kind of rate limit.
        rate: Accepted units per second; 0 for no limit.
        burst: Units accepted at once, beyond the rate.
        cost: Cost of one request in units.
        latency_s: Time until the answer to each request that is not throttled.
        failure_ratio: Share of requests, drawn at random, that get 500 or 503.
        outage: Whether every request gets 503 at once.
        fail_ids: Event ids that always get 500.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode = Mode.BUCKET
    rate: Annotated[float, Field(ge=0)] = 10.0
    burst: Annotated[float, Field(ge=0)] = 10.0
    cost: Annotated[float, Field(gt=0)] = 1.0
    latency_s: Annotated[float, Field(ge=0)] = 0.0
    failure_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    outage: bool = False
    fail_ids: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _lets_something_through(self) -> Self:
        at_once = self.burst if self.mode is Mode.BUCKET else self.rate + self.burst
        if self.rate and self.cost > at_once:
            raise ValueError(
                f"a request of cost {self.cost:g} would never fit: burst and rate allow {at_once:g} units at once"
            )
        return self

    def changed(self, changes: dict[str, Any]) -> Self:
        """Return a copy with some fields changed.

        Raises:
            ValueError: A field is unknown, or its value is not allowed.
        """
        return self.model_validate(self.model_dump() | changes)
