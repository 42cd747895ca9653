"""Forms of a signature in a text: hex and base64, each with one spelling for each value. Pure.

A second spelling would be a change that no signature detects. So base64 with other unused bits is refused, and hex that
mixes both cases.
"""

import binascii
from collections.abc import Callable
from typing import assert_never

from eventflow.senders.vocabulary import Encoding

Decode = Callable[[str], bytes | None]
"""Returns the bytes that a text stands for; None if it stands for none."""


def decoder_of(encoding: Encoding) -> Decode:
    """Return the function that reads this form."""
    match encoding:
        case "hex":
            return from_hex
        case "base64":
            return from_base64
        case "base64url":
            return _from_base64url
        case _:
            assert_never(encoding)


def from_hex(text: str) -> bytes | None:
    """Read hex in lower or in upper case."""
    if text != text.lower() and text != text.upper():
        return None
    try:
        return binascii.unhexlify(text)
    except ValueError:
        return None


def from_base64(text: str) -> bytes | None:
    """Read base64 with its padding or without."""
    padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
    try:
        value = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:
        return None
    return value if binascii.b2a_base64(value, newline=False).decode() == padded else None


def _from_base64url(text: str) -> bytes | None:
    return None if "+" in text or "/" in text else from_base64(text.replace("-", "+").replace("_", "/"))
