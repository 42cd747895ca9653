"""The rate at which the collectors accept events, from the counts in their reports. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from eventflow.control.reports import CollectorReport

RATE_OVER_S: Final = 10.0
"""A rate is taken over this time, because a count in one second is mostly chance."""

FORGOTTEN_AFTER_S: Final = 3600.0
"""Time after which a collector that answers no longer is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Accepted events of a flow.

    Attributes:
        per_s: Events per second by collector; None if it is unknown yet, or if the collector does not report it.
        accepted: Events since the last look; None if a collector does not report it, or if none has answered.
    """

    per_s: Mapping[str, float | None]
    accepted: int | None

    @property
    def rate_per_s(self) -> float | None:
        """Events per second of all collectors; None if one of them is unknown."""
        rates = [rate for rate in self.per_s.values() if rate is not None]
        return sum(rates) if rates and len(rates) == len(self.per_s) else None


@dataclass(slots=True)
class _Counts:
    """The latest counts of one collector, with their times; the oldest is the last one before `RATE_OVER_S`."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def per_s(self) -> float | None:
        (first_s, first), (last_s, last) = self.samples[0], self.samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None

    def add(self, at_s: float, total: int) -> None:
        self.samples.append((at_s, total))
        while len(self.samples) > 2 and self.samples[1][0] <= at_s - RATE_OVER_S:
            self.samples.popleft()


class IntakeCounter:
    """Takes the reports about one flow, look after look."""

    def __init__(self) -> None:
        self._collectors: dict[str, _Counts] = {}
        self._last_s: float | None = None

    def count(self, reports: Mapping[str, CollectorReport], *, at_s: float) -> Intake:
        """Return the accepted events since the last look, and the rates.

        Args:
            reports: The reports of the collectors, by their names. Each process has a name of its own.
            at_s: Time of the reports, by any clock that only rises.
        """
        accepted = sum(self._take(name, report, at_s) for name, report in reports.items())
        is_complete = bool(reports) and all(report.accepted_total is not None for report in reports.values())
        self._last_s = at_s
        self._forget(at_s)
        return Intake(per_s={name: self._rate_of(name) for name in reports}, accepted=accepted if is_complete else None)

    def _take(self, name: str, report: CollectorReport, at_s: float) -> int:
        """Note the count of one collector; return the events that it has accepted since the last look."""
        if report.accepted_total is None:
            return 0
        known = self._collectors.get(name)
        counts = self._collectors.setdefault(name, _Counts())
        if known is not None:
            accepted = report.accepted_total - counts.samples[-1][1]
        elif self._last_s is not None and report.uptime_s is not None and report.uptime_s <= at_s - self._last_s:
            accepted = report.accepted_total  # it has started since the last look
            counts.add(at_s - report.uptime_s, 0)
        else:
            accepted = 0  # it was not asked before, so the time of these events is unknown
        counts.add(at_s, report.accepted_total)
        return max(0, accepted)

    def _rate_of(self, name: str) -> float | None:
        counts = self._collectors.get(name)
        return None if counts is None else counts.per_s

    def _forget(self, at_s: float) -> None:
        for name, counts in list(self._collectors.items()):
            if counts.samples[-1][0] < at_s - FORGOTTEN_AFTER_S:
                del self._collectors[name]
