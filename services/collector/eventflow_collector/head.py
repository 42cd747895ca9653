"""The head of a request with events, and the peer that sent it. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl

from multidict import MultiMapping

QUERIES_KEPT_MAX = 128
"""Number of cached queries. A sender repeats the one that it was registered with."""


class Head(NamedTuple):
    """The parts of a request before its body. A tuple, because plain requests keep it between them.

    Attributes:
        method: As the request has it.
        flow: The flow in the path, which may not exist.
        sub_path: The part of the path behind that of the flow, as it was written: empty, or it begins with a slash.
        path: The whole path, as it was written.
        query: The query string, as it was written, without the question mark; empty if there is none.
        headers: A mapping that ignores case.
    """

    method: str
    flow: str
    sub_path: str
    path: str
    query: str
    headers: MultiMapping[str]

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the query, decoded; the first of several, None if there is none."""
        return _parameters_in(self.query).get(name) if self.query else None


class Peer(Protocol):
    """The other end of the connection that a request came over: the sender, or a proxy in front of the collector."""

    __slots__ = ()

    @property
    def address(self) -> str | None:
        """Its IP address, looked up when it is needed; None if the connection is gone or has none."""


@lru_cache(maxsize=QUERIES_KEPT_MAX)
def _parameters_in(query: str) -> Mapping[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters.setdefault(name, value)
    return MappingProxyType(parameters)
