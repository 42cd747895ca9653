"""How the target answers, settable while it runs."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field


class Behaviour(BaseModel):
    """How the target answers.

    Attributes:
        rate: Requests per second that leak from its bucket; 0 for no limit.
        burst: Requests that its bucket holds.
        latency_s: How long it takes over each request that it does not throttle.
        failure_ratio: Share of requests, by chance, that get 500 or 503.
        outage: Everything gets 503 at once.
        fail_ids: Event ids that always get 500.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rate: Annotated[float, Field(ge=0)] = 10.0
    burst: Annotated[float, Field(ge=1)] = 10.0
    latency_s: Annotated[float, Field(ge=0)] = 0.0
    failure_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    outage: bool = False
    fail_ids: frozenset[str] = frozenset()

    def changed(self, changes: dict[str, Any]) -> Self:
        """Return it with some fields changed.

        Raises:
            ValueError: A field is unknown or its value makes no sense.
        """
        return self.model_validate(self.model_dump() | changes)
