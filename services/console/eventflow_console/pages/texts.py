"""Texts from outside, such as bodies and answers, made safe for a page. Pure.

The templates escape HTML. This module does the rest: control characters, and the invisible characters by which a text
can pretend to be another one, become visible escapes. No text is longer than its bound.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from eventflow.excerpt import CUT

LINE_MAX_CHARACTERS: Final = 300
"""Longest id, type or reason on a page. An id has at most 255 bytes; other texts come from other programs."""

BODY_MAX_CHARACTERS: Final = 16_384
BODY_MAX_BYTES: Final = 1024
"""Bytes that are not text are shown in hex, up to this number."""

JSON_MAX_BYTES: Final = 1_048_576
"""Longest body that is parsed. It takes some milliseconds, in which the console does nothing else."""

_OWN: Final = "\n\t\u202f"
"""Characters of our own texts that do not count as printable: line ends, tabs, and the space between thousands."""

_INDENT: Final = "  "
_DEPTH_MAX: Final = 32
"""Deepest indentation. A short body of a thousand nested arrays would otherwise become megabytes of spaces."""

_HEX_COLUMNS: Final = 16
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
_OPENING, _CLOSING = frozenset("{["), frozenset("}]")


class Form(StrEnum):
    """The form in which a body is shown."""

    EMPTY = "empty"
    JSON = "JSON"
    TEXT = "text"
    HEX = "hex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A body or an answer for a page.

    Attributes:
        is_cut: Whether only its beginning is shown.
    """

    form: Form
    text: str
    is_cut: bool = False


def printable(text: str, *, kept: str = _OWN) -> str:
    """Return a text with an escape for each character that is not printable and not in `kept`.

    `isprintable` is also false for marks of direction and for characters without width, which can reorder or hide text.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in kept else character.encode("unicode_escape").decode()
        for character in text
    )


def line(text: str, limit: int = LINE_MAX_CHARACTERS) -> str:
    """Return a text as one printable line of at most `limit` characters."""
    printed, is_cut = _printed(text, limit, kept="")
    return printed[: limit - len(CUT)] + CUT if is_cut else printed


def shown(content: bytes, *, total_bytes: int | None = None, limit: int = BODY_MAX_CHARACTERS) -> Shown:
    """Return a body for a page: JSON indented, other text unchanged, other bytes in hex.

    Args:
        content: The body, or its beginning.
        total_bytes: Its whole length, if `content` may be only the beginning.
        limit: The largest number of characters.
    """
    is_beginning = total_bytes is not None and total_bytes > len(content)
    if not content.strip():
        return Shown(form=Form.EMPTY, text="", is_cut=is_beginning)
    text = _decoded(content[: max(JSON_MAX_BYTES, 4 * limit)], is_cut=is_beginning or len(content) > JSON_MAX_BYTES)
    if text is None:
        dump = "\n".join(_hex_rows(content[:BODY_MAX_BYTES]))
        return Shown(form=Form.HEX, text=dump, is_cut=is_beginning or len(content) > BODY_MAX_BYTES)
    form = Form.TEXT
    if len(content) <= JSON_MAX_BYTES and _is_json(text):
        # One character more than fits shows that there is more; the rest is never made.
        form, text = Form.JSON, "".join(islice(_indented(text), limit + 1))
    printed, is_cut = _printed(text.replace("\r\n", "\n"), limit, kept="\n\t")
    return Shown(form=form, text=printed, is_cut=is_beginning or is_cut)


def _printed(text: str, limit: int, *, kept: str) -> tuple[str, bool]:
    """Return the first characters as `printable` does; and whether there are more."""
    printed = printable(text[:limit], kept=kept)
    return printed[:limit], len(text) > limit or len(printed) > limit


def _decoded(content: bytes, *, is_cut: bool) -> str | None:
    """Return the text in UTF-8; None if it is none. Only a cut may leave an incomplete character at the end."""
    if b"\0" in content[:BODY_MAX_BYTES]:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        if is_cut and error.reason == "unexpected end of data":
            return content[: error.start].decode()
        return None


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or array. A number or a string alone is shown as any other text."""
    if text.lstrip()[:1] not in _OPENING:
        return False
    try:
        json.loads(text, parse_int=str, parse_float=str)  # as text: Python refuses numbers of thousands of digits
    except (ValueError, RecursionError):
        return False
    return True


def _indented(text: str) -> Iterator[str]:
    """Yield the characters of a JSON text with line ends and indentation.

    The tokens are kept as they were sent. A parser would round numbers, and drop a name that occurs twice.
    """
    depth, last = 0, ""
    for match in _TOKENS.finditer(text):
        part = match[0]
        if part in _CLOSING:
            depth -= 1
            if last not in _OPENING:
                yield from _line_end(depth)
        elif last in _OPENING or last == ",":
            yield from _line_end(depth)
        yield from part
        if part == ":":
            yield " "
        depth += part in _OPENING
        last = part


def _line_end(depth: int) -> str:
    return "\n" + _INDENT * min(depth, _DEPTH_MAX)


def _hex_rows(content: bytes) -> Iterator[str]:
    """Yield rows of offset, bytes and text, as `hexdump -C` prints them."""
    for start in range(0, len(content), _HEX_COLUMNS):
        row = content[start : start + _HEX_COLUMNS]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:04x}  {row.hex(' '):<47}  {text}"
