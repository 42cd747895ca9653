"""The head of a request with events, and the peer that sent it. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl

from multidict import MultiMapping

FIELDS_MAX = 1000
"""Fields of a form, or parameters of a query, that are read. A text with more counts as having none."""

QUERIES_KEPT_MAX = 128
"""Number of cached queries. A sender repeats the one that it was registered with."""


class Head(NamedTuple):
    """The parts of a request before its body. A tuple, because plain requests keep it between them.

    Attributes:
        method: As the request has it.
        flow: The flow in the path, which may not exist.
        sub_path: The part of the path behind that of the flow, as it was written: empty, or it begins with a slash.
        query: The query string, as it was written, without the question mark; empty if there is none.
        headers: A mapping that ignores case.
    """

    method: str
    flow: str
    sub_path: str
    query: str
    headers: MultiMapping[str]

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the query, decoded; the first of several, None if there is none."""
        return _parameters_in(self.query).get(name)


class Peer(Protocol):
    """The other end of the connection that a request came over: the sender, or a proxy in front of the collector."""

    __slots__ = ()

    @property
    def address(self) -> str | None:
        """Its IP address, looked up when it is needed; None if the connection is gone or has none."""


def pairs_in(text: str) -> list[tuple[str, str]] | None:
    """Return the names and values of a form or a query, decoded; None if it has too many.

    Bytes that are not UTF-8 are kept apart. As one and the same replacement character, they could be exchanged under a
    signature.
    """
    try:
        return parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=FIELDS_MAX)
    except ValueError:
        return None


@lru_cache(maxsize=QUERIES_KEPT_MAX)
def _parameters_in(query: str) -> Mapping[str, str]:
    return dict(reversed(pairs_in(query) or ()))
