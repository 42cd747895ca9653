"""A bound on wrong passwords from one place. Pure."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

FAILURES_MAX: Final = 10
"""Wrong passwords from one place in `WINDOW_S`. A person makes fewer, and a program could guess thousands."""

WINDOW_S: Final = 60.0
PLACES_MAX: Final = 10_000


@dataclass(slots=True)
class _Window:
    began_s: float
    tries: int = 0


class Throttle:
    """The tries of each place in the present window.

    A try counts from its beginning, and is taken back if the password was right. Otherwise a program could begin a
    thousand at once before the first had failed.
    """

    def __init__(self) -> None:
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def begin(self, place: str, *, now_s: float) -> float:
        """Count a try; return 0 if it may be made, or else the seconds until the next one may."""
        window = self._windows.get(place)
        if window is None or now_s - window.began_s >= WINDOW_S:
            window = self._windows[place] = _Window(now_s)
            self._windows.move_to_end(place)
            if len(self._windows) > PLACES_MAX:
                self._windows.popitem(last=False)
        if window.tries >= FAILURES_MAX:
            return window.began_s + WINDOW_S - now_s
        window.tries += 1
        return 0.0

    def take_back(self, place: str) -> None:
        """Take back a try, because the password was right."""
        if (window := self._windows.get(place)) is not None and window.tries > 0:
            window.tries -= 1
