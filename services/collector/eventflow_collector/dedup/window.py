"""The ids of events that were stored lately, each for the same time, in bounded memory. Pure.

An id is kept as a digest of source and id, so it takes the same memory however long both are: its digest, its entry in
the dict with the value, and its place in the queue. Measured on CPython 3.11: 210 to 320 bytes, depending on the free
entries of the dict.
"""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from zlib import crc32

_DIGEST_BYTES = 16
_CHECKSUM_BITS = 32
_CHECKSUM_MASK = (1 << _CHECKSUM_BITS) - 1


def digest_of(source: str, event_id: str) -> bytes:
    """Return a digest of source and id, with 128 bits: a match by chance will not happen."""
    # With the length of the source, because the text without it could be divided into source and id in several ways.
    return sha256(f"{len(source)} {source}{event_id}".encode()).digest()[:_DIGEST_BYTES]


def checksum_of(body: bytes) -> int:
    """Return a checksum that shows whether two bodies differ. It decides nothing, so 32 bits are enough."""
    return crc32(body)


class Window:
    """Digests of ids, each from `add` until its time has passed, or until it must make room for a newer one."""

    def __init__(
        self, *, length_s: float, max_ids: int, clock: Callable[[], float], on_evicted: Callable[[], object]
    ) -> None:
        """Start empty.

        Args:
            length_s: Time for which an id is kept.
            max_ids: Number of ids that are kept at most.
            clock: Seconds, which never decrease.
            on_evicted: Called for each id that leaves before its time has passed.
        """
        self._length_ms = int(length_s * 1000)
        self._max_ids = max_ids
        self._clock = clock
        self._on_evicted = on_evicted
        # Both have the same digests. A queue of their order is needed, because the first key of a dict is found only
        # behind all entries that were deleted before it.
        self._order: deque[bytes] = deque()
        # The end of the time in ms, and the checksum in the lower bits. It is one integer, because the garbage
        # collector does not visit integers: a tuple for each id would make it slower with every id.
        self._entries: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def checksum(self, digest: bytes) -> int | None:
        """Return the checksum that an id was added with; None if the id is not in the window."""
        entry = self._entries.get(digest)
        if entry is None or entry >> _CHECKSUM_BITS <= self._now_ms():
            return None
        return entry & _CHECKSUM_MASK

    def add(self, digest: bytes, checksum: int) -> None:
        """Add an id from now on. If it is in the window already, nothing changes, so a repeat extends no time."""
        self.drop_expired()
        if digest in self._entries:
            return
        if len(self._entries) == self._max_ids:
            self._drop_oldest()
            self._on_evicted()
        entry = (self._now_ms() + self._length_ms) << _CHECKSUM_BITS | checksum
        self._order.append(digest)
        self._entries[digest] = entry

    def drop_expired(self) -> None:
        """Release the memory of ids whose time has passed."""
        now_ms = self._now_ms()
        while self._order and self._entries[self._order[0]] >> _CHECKSUM_BITS <= now_ms:
            self._drop_oldest()

    def clear(self) -> None:
        """Forget all ids."""
        self._order.clear()
        self._entries.clear()

    def _drop_oldest(self) -> None:
        del self._entries[self._order.popleft()]

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
