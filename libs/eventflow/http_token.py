"""Tokens of HTTP (RFC 9110, 5.6.2), such as the names of headers. Pure."""

import re

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_token(name: str) -> bool:
    """Return True if a text can be the name of a header."""
    return _TOKEN.fullmatch(name) is not None
