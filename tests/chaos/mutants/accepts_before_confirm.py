"""A collector that answers 202 once a publish is sent, without waiting for its confirm."""

from typing import Any

import collector.__main__ as collector
from collector import worker
from eventflow.outlet import Publication
from eventflow.publisher import Publisher


class Mutant(Publisher):
    """Publishes as ever, and believes it done."""

    def publish(self, *args: Any, **kwargs: Any) -> Publication:
        sent = super().publish(*args, **kwargs)
        hoped = Publication(sent.message, sent.queue)
        hoped.resolve()
        return hoped


if __name__ == "__main__":
    worker.Publisher = Mutant  # type: ignore[misc]
    collector.main()
