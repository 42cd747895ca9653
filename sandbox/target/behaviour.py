"""How the target answers, settable while it runs."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Mode(StrEnum):
    """How the target limits what it takes."""

    BUCKET = "bucket"
    """Shopify's leaky bucket: it holds `burst` units and leaks `rate` of them per second."""
    STRICT = "strict"
    """No more than `rate + burst` units in any window of 1 s."""


class Behaviour(BaseModel):
    """How the target answers. What exceeds its limit gets 429 and a `Retry-After`.

    Attributes:
        mode: How it limits.
        rate: Units per second that it takes; 0 for no limit.
        burst: Units that it takes beyond them.
        cost: Units that one request costs.
        latency_s: How long it takes over each request that it does not throttle.
        failure_ratio: Share of requests, by chance, that get 500 or 503.
        outage: Everything gets 503 at once.
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
                f"a request of cost {self.cost:g} would never fit: burst and rate allow {at_once:g} at once"
            )
        return self

    def changed(self, changes: dict[str, Any]) -> Self:
        """Return it with some fields changed.

        Raises:
            ValueError: A field is unknown or its value makes no sense.
        """
        return self.model_validate(self.model_dump() | changes)
