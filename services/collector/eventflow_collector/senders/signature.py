"""Whether a request is signed by somebody who has one of our secrets. Pure.

Everything is computed over the bytes as received. What is compared is the signature as it is written, not what it
decodes to, so that no other spelling of it passes; in a time that does not tell how much of it is right.
"""

import base64
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, assert_never

from eventflow.settings.source import SourceSettings
from eventflow.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, header_bytes, signature, signing_key

STRIPE_HEADER = "Stripe-Signature"


class Flaw(StrEnum):
    """What is wrong with a request's signature: for our metrics, never for the sender."""

    MISSING = "signature_missing"
    MALFORMED = "signature_malformed"
    STALE = "signature_stale"
    MISMATCH = "signature_mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyHmac:
    """An HMAC of the body in a header, as GitHub, Shopify and many others have it. It has no time, so it never ends."""

    header: str
    algorithm: str
    encoding: Literal["hex", "base64"]
    prefix: str
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripe:
    """`t={seconds},v1={hex}[,v1={hex}]` over `{seconds}.{body}` (https://docs.stripe.com/webhooks/signature)."""

    tolerance_s: float
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardWebhooks:
    """A list of `v1,{base64}` over `{id}.{seconds}.{body}`."""

    tolerance_s: float
    keys: tuple[bytes, ...]


Scheme = BodyHmac | Stripe | StandardWebhooks


def scheme_of(source: SourceSettings) -> Scheme | None:
    """Prepare what a flow's requests are checked by; None where they need no signature."""
    secrets = [secret.get_secret_value() for secret in source.secrets]
    keys = tuple(secret.encode() for secret in secrets)
    match source.verify:
        case "none":
            return None
        case "github":
            return BodyHmac(
                header="X-Hub-Signature-256", algorithm="sha256", encoding="hex", prefix="sha256=", keys=keys
            )
        case "shopify":
            return BodyHmac(header="X-Shopify-Hmac-Sha256", algorithm="sha256", encoding="base64", prefix="", keys=keys)
        case "hmac":
            return BodyHmac(
                header=source.hmac_header,
                algorithm=source.hmac_algorithm,
                encoding=source.hmac_encoding,
                prefix=source.hmac_prefix,
                keys=keys,
            )
        case "stripe":
            return Stripe(tolerance_s=source.tolerance_s, keys=keys)
        case "standard-webhooks":
            return StandardWebhooks(tolerance_s=source.tolerance_s, keys=tuple(map(signing_key, secrets)))
        case _:
            assert_never(source.verify)


def find_flaw(scheme: Scheme, *, headers: Mapping[str, str], body: bytes, now: datetime) -> Flaw | None:
    """Return what is wrong with a request's signature, or None where one of the secrets has made it."""
    match scheme:
        case BodyHmac():
            return _flaw_of_body_hmac(scheme, headers, body)
        case Stripe():
            return _flaw_of_stripe(scheme, headers, body, now)
        case StandardWebhooks():
            return _flaw_of_standard_webhooks(scheme, headers, body, now)
        case _:
            assert_never(scheme)


def _flaw_of_body_hmac(scheme: BodyHmac, headers: Mapping[str, str], body: bytes) -> Flaw | None:
    given = headers.get(scheme.header)
    if given is None:
        return Flaw.MISSING

    def expected(key: bytes) -> str:
        digest = hmac.digest(key, body, scheme.algorithm)
        written = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
        return scheme.prefix + written

    return _mismatch([given], scheme.keys, expected)


def _flaw_of_stripe(scheme: Stripe, headers: Mapping[str, str], body: bytes, now: datetime) -> Flaw | None:
    given = headers.get(STRIPE_HEADER)
    if given is None:
        return Flaw.MISSING
    parts = [part.partition("=")[::2] for part in given.split(",")]
    timestamp = next((value for name, value in parts if name == "t"), "")
    signed = b"%b.%b" % (header_bytes(timestamp), body)
    return _untimely(timestamp, now, scheme.tolerance_s) or _mismatch(
        [value for name, value in parts if name == "v1"],
        scheme.keys,
        lambda key: hmac.digest(key, signed, "sha256").hex(),
    )


def _flaw_of_standard_webhooks(
    scheme: StandardWebhooks, headers: Mapping[str, str], body: bytes, now: datetime
) -> Flaw | None:
    webhook_id, timestamp = headers.get(ID_HEADER), headers.get(TIMESTAMP_HEADER)
    given = headers.get(SIGNATURE_HEADER)
    if webhook_id is None or timestamp is None or given is None:
        return Flaw.MISSING
    return _untimely(timestamp, now, scheme.tolerance_s) or _mismatch(
        given.split(" "),
        scheme.keys,
        lambda key: signature(key, webhook_id=webhook_id, timestamp=timestamp, body=body),
    )


def _untimely(timestamp: str, now: datetime, tolerance_s: float) -> Flaw | None:
    """Tell whether a time in whole seconds is too far from now, in either direction."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return Flaw.MALFORMED
    return Flaw.STALE if abs(now.timestamp() - int(timestamp)) > tolerance_s else None


def _mismatch(given: Iterable[str], keys: tuple[bytes, ...], expected: Callable[[bytes], str]) -> Flaw | None:
    """Compare every signature that was given with every one that a secret makes, however early one of them fits."""
    candidates = [header_bytes(text) for text in given]
    made = [expected(key).encode() for key in keys]
    matches = [hmac.compare_digest(candidate, own) for candidate in candidates for own in made]
    return None if any(matches) else Flaw.MISMATCH
