"""A collector that answers 202 once a publish is sent, without waiting for its confirm."""

from typing import Any

import collector.__main__ as collector
from collector import worker
from eventflow.publisher import Publication, Publisher


class Hoped(Publication):
    """Looks confirmed from the start."""

    __slots__ = ()

    async def confirmed(self, *, timeout_s: float) -> None:
        pass


class Mutant(Publisher):
    """Publishes as ever, and believes it done."""

    def publish(self, *args: Any, **kwargs: Any) -> Publication:
        return Hoped(super().publish(*args, **kwargs)._answer)


if __name__ == "__main__":
    worker.Publisher = Mutant  # type: ignore[misc]
    collector.main()
