"""Writer of requests: a request becomes bytes. Pure. Parts that are the same for each request are encoded once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from eventflow.network.http_proxy import Via
from eventflow_processor.target.request import SharedHeaders, TargetRequest

LAYOUTS_MAX = 1024
"""Bound of a cache, since senders choose the types and the sources of events."""

_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VARIABLE: Final = "\0"
"""In place of a value that each request has for itself. No header has this value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Head of all requests with the same shared headers, and with own headers of the same names.

    Attributes:
        text: Head with a `%s` for the path, for each value and for the lines of the chosen headers, and a `%d` for the
            length of the body.
        names: Names of the values, in their order in the text.
    """

    text: str
    names: tuple[str, ...]


class RequestWriter:
    """Writes the requests to one target."""

    def __init__(self, url: URL, *, fixed: Mapping[str, str], method: str = "POST", via: Via | None = None) -> None:
        """Write requests with the `fixed` headers. A header of the request replaces a fixed one of its name.

        Args:
            url: URL of the target. A request with a path of its own has it instead of the path and query in the URL.
            fixed: The fixed headers.
            method: The method.
            via: The proxy that reads the requests, unless it only passes the bytes of a tunnel on.
        """
        self._before_path = f"{method} {url.origin() if via is not None and via.reads_requests else ''}"
        self._path = url.raw_path_qs
        self._fixed = CIMultiDict({"Host": url.host_port_subcomponent or ""})
        self._fixed.update(fixed)
        self._layout_of = lru_cache(maxsize=LAYOUTS_MAX)(self._new_layout)

    def bytes_of(self, request: TargetRequest) -> bytes:
        """Return the bytes of a request.

        Raises:
            ValueError: A value contains a control character, which could begin another header.
        """
        own = request.own
        layout = self._layout_of(tuple(own), request.shared)
        values = (request.path or self._path, *map(own.__getitem__, layout.names))
        _refuse_control_characters("".join(values))
        chosen = "" if request.chosen is None else _lines_of(request.chosen)
        return (layout.text % (*values, chosen, len(request.body))).encode() + request.body

    def _new_layout(self, names: tuple[str, ...], shared: SharedHeaders) -> _Layout:
        headers = CIMultiDict(self._fixed)
        for name in names:
            headers[name] = _VARIABLE
        headers.update(shared.headers)
        for text in (self._before_path, *headers, *self._fixed.values(), *shared.headers.values()):
            _refuse_control_characters(text)
        lines = [f"{_escaped(self._before_path)}%s HTTP/1.1"]
        for name, value in headers.items():
            lines.append(f"{_escaped(name)}: {'%s' if value == _VARIABLE else _escaped(value)}")
        return _Layout(
            text="\r\n".join((*lines, "%sContent-Length: %d", "", "")),
            names=tuple(name for name, value in headers.items() if value == _VARIABLE),
        )


def _lines_of(headers: Mapping[str, str]) -> str:
    return "".join([f"{_checked(name)}: {_checked(value)}\r\n" for name, value in headers.items()])


def _checked(text: str) -> str:
    _refuse_control_characters(text)
    return text


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _refuse_control_characters(text: str) -> None:
    if not text.isprintable() and _CONTROL_CHARACTER.search(text) is not None:  # the former is cheap, and too strict
        raise ValueError("a header contains a control character")
