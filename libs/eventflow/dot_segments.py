"""Dot segments in the path of a URL, which lead to another path. Pure."""

import re
from urllib.parse import unquote

_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;]|$)")
"""In a decoded path, because many servers decode a path, with its slashes, before they resolve its dot segments. Some
ignore the rest of a segment after a semicolon."""


def has_dot_segment(path: str) -> bool:
    """Whether a server may read a dot segment, such as `..`, in a percent-encoded path."""
    return _DOT_SEGMENT.search(unquote(path)) is not None
