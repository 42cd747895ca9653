"""Excerpts: texts from outside, such as a target's answer, as one short printable line for logs and terminals. Pure."""

import codecs
from typing import Final

EXCERPT_MAX_BYTES: Final = 512
"""Enough for the error in most answers. A header, a log line and a control message have room for it."""

CUT: Final = "..."

_utf_8 = codecs.getincrementaldecoder("utf-8")


def excerpt_of(content: bytes | str) -> str | None:
    """Return the beginning of a text, with control characters escaped; None if it is empty or white space.

    The result has at most `EXCERPT_MAX_BYTES` bytes in UTF-8, and each of its characters is printable.
    """
    text = _decoded(content[:EXCERPT_MAX_BYTES]).strip(" \t\r\n")
    is_cut = len(content) > EXCERPT_MAX_BYTES
    shown, left_bytes = [], EXCERPT_MAX_BYTES - len(CUT)
    for character in text:
        escaped = character if character.isprintable() else character.encode("unicode_escape").decode()
        left_bytes -= len(escaped.encode())
        if left_bytes < 0:
            is_cut = True
            break
        shown.append(escaped)
    return "".join(shown) + (CUT if is_cut else "") if shown else None


def is_excerpt(text: str) -> bool:
    """Whether `text` has the form of an excerpt, as a copy by another program may not."""
    return 0 < len(text.encode(errors="replace")) <= EXCERPT_MAX_BYTES and text.isprintable()


def _decoded(content: bytes | str) -> str:
    """Decode bytes as UTF-8. An incomplete character at the end is dropped, because the cut has made it."""
    if isinstance(content, str):
        return content
    return _utf_8(errors="backslashreplace").decode(content)
