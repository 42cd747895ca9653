"""Standard Webhooks signatures (version 1, symmetric): what the collector verifies and the processor signs with. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
VERSION_PREFIX = "v1,"
"""Before the `whsec_` where a sender shows the version too, as Supabase does (standard-webhooks#235)."""


def signing_key(secret: str) -> bytes:
    """Decode a secret, with or without its `whsec_` or `v1,whsec_`.

    Raises:
        ValueError: It is none. The message does not show it.
    """
    text = secret.removeprefix(VERSION_PREFIX).removeprefix(SECRET_PREFIX).rstrip("=")
    padding = "=" * (-len(text) % 4)  # some senders show it without
    try:
        key = base64.b64decode(text + padding, validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("base64 is expected, usually behind whsec_")
    return key


def signature(key: bytes, *, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Sign `{webhook_id}.{timestamp}.{body}`; returns `v1,{base64}`.

    Neither the id nor the timestamp may have a full stop in it where somebody else chooses them, since it is what
    separates the parts.
    """
    signed = b"%b.%b.%b" % (header_bytes(webhook_id), header_bytes(timestamp), body)
    digest = hmac.digest(key, signed, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def header_bytes(value: str) -> bytes:
    """Return a received header value as the bytes that it was on the wire."""
    return value.encode(errors="surrogateescape")
