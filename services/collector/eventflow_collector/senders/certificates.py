"""The keys in certificates that senders publish, by the address of each. Pure: `server.certificates` fetches them.

The cache is bounded, since addresses come from requests that are not authentic yet. The keys in use are kept longest,
so a stranger with many addresses does not displace them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the library takes 10 MB, and most flows need no certificate
    from eventflow_collector.senders.public_key import PublishedKey

KEPT_MAX = 64
"""Certificates that are kept. A sender has one for each of its regions, and publishes a new one once a year."""

FRESH = timedelta(days=1)
"""Time after which a certificate is fetched again, so that one that its sender has replaced is forgotten."""

FAILED = timedelta(seconds=30)
"""Time for which an address is not fetched again after a failure. Senders repeat a request after a longer time."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A certificate that is needed and not known.

    Attributes:
        address: As a request has it; https, at one of the hosts.
        hosts: Patterns of the hosts where it may be.
    """

    address: str
    hosts: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """The result of the last fetch: a key, or None after a failure or for a document without a usable key."""

    key: "PublishedKey | None"
    until: datetime


class Certificates:
    """The certificates that all flows of a process have needed."""

    def __init__(self) -> None:
        """Start without any."""
        self._known: dict[str, _Known] = {}

    def is_known(self, address: str, now: datetime) -> bool:
        """Whether a certificate need not be fetched: it has been, or this has just failed."""
        return self._at(address, now) is not None

    def key_at(self, address: str, now: datetime) -> "PublishedKey | None":
        """Return the key in the certificate at an address; None if it has not been fetched or cannot be used."""
        known = self._at(address, now)
        return None if known is None else known.key

    def keep(self, address: str, document: bytes, now: datetime) -> None:
        """Keep the key in a document that has been fetched."""
        from eventflow_collector.senders.public_key import published_key_in  # noqa: PLC0415 - see above

        key = published_key_in(document)
        self._put(address, _Known(key, now + (FAILED if key is None else FRESH)))

    def keep_failure(self, address: str, now: datetime) -> None:
        """Note that a certificate could not be fetched."""
        self._put(address, _Known(None, now + FAILED))

    def _at(self, address: str, now: datetime) -> _Known | None:
        known = self._known.get(address)
        if known is None or known.until <= now:
            return None
        if known.key is not None:
            self._known[address] = self._known.pop(address)  # to the end, as the one that was used last
        return known

    def _put(self, address: str, known: _Known) -> None:
        self._known.pop(address, None)
        self._known[address] = known
        if len(self._known) > KEPT_MAX:
            without_key = (one for one, other in self._known.items() if other.key is None)
            del self._known[next(without_key, next(iter(self._known)))]
