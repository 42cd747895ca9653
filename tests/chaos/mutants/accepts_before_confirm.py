"""A collector that answers 202 when a publish is sent, before its confirm."""

from typing import Any

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow_collector import __main__ as collector
from eventflow_collector.server import worker


class Mutant(Publisher):
    """Publisher that reports each publish as confirmed at once."""

    def publish(self, *args: Any, **kwargs: Any) -> Publication:
        sent = super().publish(*args, **kwargs)
        hoped = Publication(sent.message, sent.queue)
        hoped.resolve()
        return hoped


if __name__ == "__main__":
    worker.Publisher = Mutant  # type: ignore[attr-defined]
    collector.main()
