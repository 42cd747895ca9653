"""Standard Webhooks signatures (version 1, symmetric), which the collector verifies and the processor makes. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of every secret
VERSION_PREFIX = "v1,"
"""Prefix of a signature. Some senders, such as Supabase, also put it before the `whsec_` of a secret
(standard-webhooks#235)."""


def signing_key(secret: str) -> bytes:
    """Decode a secret, with or without its `whsec_` or `v1,whsec_`.

    Raises:
        ValueError: It is not a secret. The message does not show it.
    """
    text = secret.removeprefix(VERSION_PREFIX).removeprefix(SECRET_PREFIX).rstrip("=")
    padding = "=" * (-len(text) % 4)  # some senders leave it out
    try:
        key = base64.b64decode(text + padding, validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("base64 is expected, usually after whsec_")
    return key


def signature(key: bytes, *, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Sign `{webhook_id}.{timestamp}.{body}`; return `v1,{base64}`.

    If a sender can choose the id or the timestamp, they must not contain a full stop: it separates the parts, and one
    signature would fit two messages.
    """
    signed = b"%b.%b.%b" % (header_bytes(webhook_id), header_bytes(timestamp), body)
    digest = hmac.digest(key, signed, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def header_bytes(value: str) -> bytes:
    """Return the bytes of a received header value, as they were sent."""
    return value.encode(errors="surrogateescape")
