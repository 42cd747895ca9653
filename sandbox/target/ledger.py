"""All requests that reached the target, in little memory."""

import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.target.rates import SlidingWindowMaximum

DEFAULT_MAX_RECEIPTS = 5_000_000
WINDOWS_S = (0.1, 1.0, 10.0)
_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One answered request.

    Attributes:
        event_id: Id of the event; empty if the request had none.
        at_s: Time of arrival, by the monotonic clock.
        attempt: Number in the header `eventflow-attempt`; 0 without one.
    """

    event_id: str
    at_s: float
    status: int
    attempt: int
    body_bytes: int
    body_sha256: bytes

    @property
    def accepted(self) -> bool:
        """Whether the answer was 2xx."""
        return 200 <= self.status < 300


class Ledger:
    """All receipts in columns, 64 bytes each, and every event id once.

    Args:
        max_receipts: Number of receipts to keep. Later requests are only counted by status, and the summary is marked
            `truncated`.
    """

    def __init__(self, *, max_receipts: int = DEFAULT_MAX_RECEIPTS) -> None:
        self._max_receipts = max_receipts
        # One offset for all receipts converts their monotonic times to wall-clock times without steps.
        self._wall_offset_s = time.time() - time.monotonic()
        self._windows = [SlidingWindowMaximum(window_s) for window_s in WINDOWS_S]
        self._by_status: Counter[int] = Counter()
        self._received = 0
        self._arrivals_s = array("d")
        self._stalls_s: list[tuple[float, float]] = []
        self._dropped = 0
        self._numbers: dict[str, int] = {}
        self._received_by_id = array("I")
        self._accepted_by_id = array("I")
        self._attempt_by_id = array("I")
        self._accepted_ids = 0
        self._duplicates = 0
        self._receipt_ids = array("I")
        self._receipt_times_s = array("d")
        self._receipt_statuses = array("H")
        self._receipt_attempts = array("I")
        self._receipt_body_bytes = array("I")
        self._receipt_digests = bytearray()

    def arrive(self, now_s: float) -> None:
        """Count a request towards the rate at its arrival, before its answer is known."""
        self._received += 1
        if len(self._arrivals_s) < self._max_receipts:
            self._arrivals_s.append(now_s)
        for window in self._windows:
            window.add(now_s)

    def stall(self, now_s: float, late_s: float) -> None:
        """Record that the target itself was late until now: requests of that time are counted as arrivals of now."""
        self._stalls_s.append((now_s, late_s))

    def record(self, receipt: Receipt) -> None:
        """Record an answered request."""
        self._by_status[receipt.status] += 1
        if len(self._receipt_ids) >= self._max_receipts:
            self._dropped += 1
            return
        number = self._number(receipt.event_id)
        self._received_by_id[number] += 1
        self._attempt_by_id[number] = max(self._attempt_by_id[number], receipt.attempt)
        if receipt.accepted:
            is_first = not self._accepted_by_id[number]
            self._accepted_ids += is_first
            self._duplicates += not is_first
            self._accepted_by_id[number] += 1
        self._receipt_ids.append(number)
        self._receipt_times_s.append(receipt.at_s)
        self._receipt_statuses.append(receipt.status)
        self._receipt_attempts.append(receipt.attempt)
        self._receipt_body_bytes.append(receipt.body_bytes)
        self._receipt_digests += receipt.body_sha256

    def summary(self) -> dict[str, Any]:
        """Return the figures of the audit.

        `max_in_window` has, for each window length in seconds, the highest number of requests within any window of
        that length. `duplicates` is the number of accepted receipts beyond the first of each event id.
        """
        accepted = sum(count for status, count in self._by_status.items() if 200 <= status < 300)
        answered = self._by_status.total()
        throttled = self._by_status[429]
        times_s = self._receipt_times_s
        return {
            "received": self._received,
            "accepted": accepted,
            "throttled": throttled,
            "failed": answered - accepted - throttled,
            "in_flight": self._received - answered,
            "distinct_ids_accepted": self._accepted_ids,
            "duplicates": self._duplicates,
            "by_status": {str(status): count for status, count in sorted(self._by_status.items())},
            "max_in_window": {f"{window.window_s:g}": window.maximum for window in self._windows},
            "first_at": self._wall_s(times_s[0]) if times_s else None,
            "last_at": self._wall_s(times_s[-1]) if times_s else None,
            "truncated": self._dropped > 0,
        }

    def arrivals_s(self, *, after_s: float) -> list[float]:
        """Return the arrival times of all requests after `after_s`, by the monotonic clock."""
        return self._arrivals_s[bisect_right(self._arrivals_s, after_s) :].tolist()

    def stalls_s(self) -> list[tuple[float, float]]:
        """Return the end of each stall, by the monotonic clock, and the delay of the target at that time."""
        return self._stalls_s.copy()

    def ids(self) -> Iterator[dict[str, Any]]:
        """Yield the counts of each event id, in the order of first arrival."""
        for number, event_id in enumerate(list(self._numbers)):  # a copy, because ids may be added while a client reads
            yield {
                "id": event_id,
                "received": self._received_by_id[number],
                "accepted": self._accepted_by_id[number],
                "attempt": self._attempt_by_id[number],
            }

    def receipts(self) -> Iterator[dict[str, Any]]:
        """Yield all receipts in the order of the answers; `at` is wall-clock seconds."""
        ids = list(self._numbers)
        for index in range(len(self._receipt_ids)):
            digest_at = index * _SHA256_BYTES
            yield {
                "id": ids[self._receipt_ids[index]],
                "at": self._wall_s(self._receipt_times_s[index]),
                "monotonic_s": self._receipt_times_s[index],
                "status": self._receipt_statuses[index],
                "attempt": self._receipt_attempts[index],
                "body_bytes": self._receipt_body_bytes[index],
                "body_sha256": self._receipt_digests[digest_at : digest_at + _SHA256_BYTES].hex(),
            }

    def _number(self, event_id: str) -> int:
        number = self._numbers.setdefault(event_id, len(self._numbers))
        if number == len(self._received_by_id):
            for column in (self._received_by_id, self._accepted_by_id, self._attempt_by_id):
                column.append(0)
        return number

    def _wall_s(self, monotonic_s: float) -> float:
        return round(monotonic_s + self._wall_offset_s, 6)
