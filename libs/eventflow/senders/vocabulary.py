"""Vocabulary that describes a sender of webhooks. Pure.

A sender is a value: its signature, and the places of an event's id, type, source and time in its requests. The values
are part of the library because the settings offer them by name; the collector has the engine that uses them.
"""

from dataclasses import dataclass
from typing import Literal

Encoding = Literal["hex", "base64"]
"""Form of a digest: hex in lower case, or base64 with padding."""

TimeFormat = Literal["rfc3339", "unix_s"]
"""Form of a time: RFC 3339, or whole seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Header:
    """The value of a header."""

    name: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """The value at a JSON pointer (RFC 6901) in the body.

    It is looked up only in flows that verify this sender, because every body would have to be parsed otherwise.
    """

    path: str


@dataclass(frozen=True, slots=True)
class FirstMember:
    """The value of a member with this name that a JSON object begins with: letters and underscores, at most 64.

    It is found without parsing the body.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """The rest of the first item with this prefix in the signature's header, such as `t=` in `t=1,v1=abc`."""

    prefix: str


Place = Header | Pointer | FirstMember
"""A place of one text in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that a request holds in one place or several.

    Attributes:
        parts: Joined by the separator; the text is absent if one of them is.
        suffix: Added after a separator if it is present and the whole is not too long.
    """

    parts: tuple[Place, ...]
    suffix: Place | None = None
    separator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """A time that a request holds."""

    place: Header | Pointer
    format: TimeFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacSignature:
    """An HMAC of a text that is made of the request, in a header.

    Attributes:
        header: The header with the signature.
        separator: Separates several signatures and other items in the header; empty if it holds one signature.
        prefix: Precedes the digest.
        signed: The text that is signed, as a pattern of `{body}`, `{timestamp}` and `{id}`.
        timestamp: Place of `{timestamp}`, in whole seconds since 1970; None if none is signed, so that a request is
            valid forever.
        id: Header that holds `{id}`.
        has_base64_secrets: Secrets are base64 of the key, usually behind `whsec_`. Otherwise a secret's text is the
            key.
    """

    header: str
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Encoding = "hex"
    separator: str = ""
    prefix: str = ""
    signed: str = "{body}"
    timestamp: Header | Item | None = None
    id: Header | None = None
    has_base64_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A sender of webhooks.

    Attributes:
        name: Its name in `EVENTFLOW_SOURCE__VERIFY`.
        title: Its name in prose.
        signature: Its signature; None if the settings `HMAC_*` of the flow describe it.
        id: Place of an event's id; None if it writes none.
        type: Place of an event's type.
        source: Place of an event's source.
        time: Place of an event's time.
    """

    name: str
    title: str
    signature: HmacSignature | None
    id: Header | Pointer | None = None
    type: Text | None = None
    source: Text | None = None
    time: Time | None = None
