"""The newest overrides of each flow, of those that several readers of its stream deliver. Pure.

Each reader delivers every document in the order of the stream, but a slow reader delivers an old one after a fast
reader has delivered a newer one. So a document counts only if its offset is above that of the newest one so far.

A stream that was deleted and declared again begins at offset 0 again, and from the documents alone it looks like a
replica that lags behind. RabbitMQ cancels the consumers of a deleted stream, or they pass no check any more. So the
newest documents hold as long as one reader that has been current goes on. When there is none any more, or when the
broker cancels one, they are forgotten, and readers with other documents must begin anew. Then what they read counts,
with any offset. So an operator's change is never ignored for longer than readers of the old stream last.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

EMPTY_OFFSET = -1
"""Offset in place of that of a message, if a stream is empty."""

Document = tuple[int, bytes | None]
"""An offset and the body of the message; `EMPTY_OFFSET` and None for an empty stream."""


@dataclass(slots=True, eq=False)
class Reader:
    """A reader of the streams of all flows, in one session.

    Attributes:
        last: The last document of each flow.
    """

    last: dict[str, Document] = field(default_factory=dict)


class NewestOverrides:
    """Passes on each document once, and never an older one after a newer one."""

    def __init__(self, apply: Callable[[str, bytes | None], None]) -> None:
        """Call `apply` with the flow and the body of each document that counts; None stands for an empty stream."""
        self._apply = apply
        self._newest: dict[str, Document] = {}
        self._readers: set[Reader] = set()
        self._current: set[Reader] = set()

    def begin(self) -> Reader:
        """Return a new reader."""
        reader = Reader()
        self._readers.add(reader)
        return reader

    def has(self, reader: Reader) -> bool:
        """Whether a reader still counts. It must begin anew if not."""
        return reader in self._readers

    def deliver(self, reader: Reader, flow: str, offset: int, body: bytes | None) -> None:
        """Take a document of a reader, in the order of the stream."""
        if reader not in self._readers:
            return
        reader.last[flow] = offset, body
        if flow not in self._newest or offset > self._newest[flow][0]:
            self._newest[flow] = offset, body
            self._apply(flow, body)

    def is_current(self, reader: Reader) -> bool:
        """Whether a reader that has read all streams knows the newest overrides of every flow."""
        is_current = reader in self._readers and self._agrees(reader)
        if is_current:
            self._current.add(reader)
        return is_current

    def end(self, reader: Reader, *, is_cancelled: bool) -> None:
        """End a reader, and all others too if the broker has cancelled it: then they may read a deleted stream."""
        self._readers = set() if is_cancelled else self._readers - {reader}
        self._current &= self._readers
        if not self._current:
            self._readers = set(filter(self._agrees, self._readers))
            self._newest = {flow: document for other in self._readers for flow, document in other.last.items()}

    def _agrees(self, reader: Reader) -> bool:
        # Bodies too: the only documents of the old and the new stream can have the same offset.
        return all(document == self._newest[flow] for flow, document in reader.last.items())
