"""Signs requests as the known senders do, written from their documentation and apart from the code under test."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from nacl.signing import SigningKey
from standardwebhooks import Webhook

from eventflow.senders.checks import signs_address
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Sender

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TEXT_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
HEX_SECRET = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
VERIFY_TOKEN = "verify-token-of-the-tests"
KEY = SigningKey(bytes(range(32)))

_SECRETS = {
    "standard-webhooks": STANDARD_SECRET,
    "svix": STANDARD_SECRET,
    "supabase": f"v1,{STANDARD_SECRET}",
    "adyen": HEX_SECRET,
    "basic": "user:password-of-the-test",
    "discord": KEY.verify_key.encode().hex(),
}


def secret_for(verify: str) -> str:
    """Return a secret in the form that a known sender has."""
    return _SECRETS.get(verify, TEXT_SECRET)


def source_for(verify: str, *, public_url: str, secret: str | None = None) -> dict[str, object]:
    """Return the settings of a flow that takes the events of a known sender."""
    sender = SENDERS[verify]
    source: dict[str, object] = {"verify": verify, "secrets": [secret or secret_for(verify)]}
    if signs_address(sender):
        source["public_url"] = public_url
    if has_verify_token(sender):
        source["verify_tokens"] = [VERIFY_TOKEN]
    return source


def has_verify_token(sender: Sender) -> bool:
    """Return whether a sender shows a verify token."""
    return any(handshake.verify_token is not None for handshake in sender.handshakes)


def github(secret: str, body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def shopify(secret: str, body: bytes) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {"x-shopify-hmac-sha256": base64.b64encode(digest).decode()}


def stripe(secret: str, body: bytes, seconds: str | None = None) -> dict[str, str]:
    at = seconds or str(int(time.time()))
    digest = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={'0' * 64},v1={digest},v0=ignored"}


def standard(secret: str, body: bytes, seconds: str | None = None, *, webhook_id: str = "msg_1") -> dict[str, str]:
    """As the reference library does, which takes the body as text."""
    at = seconds or str(int(time.time()))
    signature = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(int(at), tz=UTC), body.decode())
    return {"webhook-id": webhook_id, "webhook-timestamp": at, "webhook-signature": f"v1a,other v2,x {signature}"}


def hmac_of(key: bytes, text: bytes, *, algorithm: str = "sha256", encoding: str = "hex") -> str:
    digest = hmac.new(key, text, algorithm).digest()
    match encoding:
        case "hex":
            return digest.hex()
        case "base64":
            return base64.b64encode(digest).decode()
        case _:
            return base64.urlsafe_b64encode(digest).decode()


def changes_of(value: bytes) -> Iterator[bytes]:
    """Every change of one bit."""
    for position in range(len(value) * 8):
        changed = bytearray(value)
        changed[position // 8] ^= 1 << position % 8
        yield bytes(changed)
