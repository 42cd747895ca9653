"""A collector whose dedup window remembers an id when its event arrives, before its confirm."""

from typing import Any

from eventflow_collector import __main__ as collector
from eventflow_collector.dedup.window import checksum_of, digest_of
from eventflow_collector.dedup.writer import DedupWriter
from eventflow_collector.server import worker


class Mutant(DedupWriter):
    """Writer that accepts every repeat at once."""

    def _is_first(self, event: Any, waiting: Any) -> bool:
        digest = digest_of(event.source, event.id)
        if self._window.checksum(digest) is not None:
            return False
        self._window.add(digest, checksum_of(event.body))
        return True


if __name__ == "__main__":
    worker.DedupWriter = Mutant  # type: ignore[attr-defined]
    collector.main()
