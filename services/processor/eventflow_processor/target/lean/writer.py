"""Writer of requests: a request becomes bytes. Pure. Parts that are the same for each request are encoded once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from eventflow_processor.target.request import TargetRequest

_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VARIABLE: Final = "\0"
"""In place of a value that each request has for itself. No header has this value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Head of all requests that have headers with the same names.

    Attributes:
        text: Head with a `%s` for each value, and one more for the length of the body.
        names: Names of the values, in their order in the text.
    """

    text: str
    names: tuple[str, ...]


class RequestWriter:
    """Writes the requests to one URL."""

    def __init__(self, url: URL, *, fixed: Mapping[str, str]) -> None:
        """Write POST requests with the `fixed` headers. A header of the request replaces a fixed one of its name."""
        self._first_line = f"POST {url.raw_path_qs} HTTP/1.1"
        self._fixed = CIMultiDict({"Host": url.host_port_subcomponent or ""})
        self._fixed.update(fixed)
        self._layouts: dict[tuple[str, ...], _Layout] = {}  # few: the names are ours, and most requests have the same

    def bytes_of(self, request: TargetRequest) -> bytes:
        """Return the bytes of a request.

        Raises:
            ValueError: A value contains a control character, which could begin another header.
        """
        headers, names = request.headers, tuple(request.headers)
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layouts[names] = self._layout_of(names)
        values = [headers[name] for name in layout.names]
        _refuse_control_characters("".join(values))
        return (layout.text % (*values, len(request.body))).encode() + request.body

    def _layout_of(self, names: tuple[str, ...]) -> _Layout:
        headers = CIMultiDict(self._fixed)
        for name in names:
            headers[name] = _VARIABLE
        for text in (self._first_line, *headers, *self._fixed.values()):
            _refuse_control_characters(text)
        lines = [_escaped(self._first_line)]
        for name, value in headers.items():
            lines.append(f"{_escaped(name)}: {'%s' if value == _VARIABLE else _escaped(value)}")
        return _Layout(
            text="\r\n".join((*lines, "Content-Length: %d", "", "")),
            names=tuple(name for name, value in headers.items() if value == _VARIABLE),
        )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _refuse_control_characters(text: str) -> None:
    if not text.isprintable() and _CONTROL_CHARACTER.search(text) is not None:  # the former is cheap, and too strict
        raise ValueError("a header contains a control character")
