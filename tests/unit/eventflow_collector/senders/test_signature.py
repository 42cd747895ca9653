"""Signatures: published vectors verify, their one-bit changes do not, and nothing but the right secret does."""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict
from standardwebhooks import Webhook

from eventflow.settings.root import Settings
from eventflow.signing import signature, signing_key
from eventflow_collector.intake.flow import flow_of
from eventflow_collector.senders.flaw import Flaw
from tests.support.requests import request_of
from tests.support.senders import github, shopify, standard, stripe

NOW = datetime(2025, 7, 13, 12, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))


def flaw_of(
    verify: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: str = "current-secret,previous-secret",
    now: datetime = NOW,
    **settings: str,
) -> Flaw | None:
    source = {"verify": verify, "secrets": secrets, **settings}
    authenticate = flow_of("default", Settings.model_validate({"source": source})).authenticate
    assert authenticate is not None
    return authenticate(request_of(CIMultiDict(headers), body), now)


GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_HEADERS = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_NOW = datetime.fromtimestamp(1614265330, tz=UTC)


def github_flaw(headers: Mapping[str, str], body: bytes) -> Flaw | None:
    """Check against GitHub's documented vector: 'Validating webhook deliveries', 'Testing the webhook payload'."""
    return flaw_of("github", headers, body, secrets=GITHUB_SECRET)


def standard_flaw(headers: Mapping[str, str], body: bytes) -> Flaw | None:
    """Check against the vector that the libraries of Standard Webhooks are tested with."""
    return flaw_of("standard-webhooks", headers, body, secrets=STANDARD_SECRET, now=STANDARD_NOW)


VECTORS = [
    pytest.param(github_flaw, GITHUB_HEADERS, GITHUB_BODY, id="github"),
    pytest.param(standard_flaw, STANDARD_HEADERS, STANDARD_BODY, id="standard-webhooks"),
]


@pytest.mark.parametrize(("flaw", "headers", "body"), VECTORS)
def test_a_published_vector_verifies(flaw, headers: Mapping[str, str], body: bytes) -> None:
    assert flaw(headers, body) is None


@pytest.mark.parametrize(("flaw", "headers", "body"), VECTORS)
def test_no_bit_of_a_published_vector_may_change(flaw, headers: Mapping[str, str], body: bytes) -> None:
    for position in range(len(body) * 8):
        assert flaw(headers, flipped(body, position)) is Flaw.MISMATCH
    for name, value in headers.items():
        for position in range(len(value) * 8):
            changed = flipped(value.encode(), position).decode(errors="surrogateescape")
            assert flaw({**headers, name: changed}, body) is not None, (name, changed)


@pytest.mark.parametrize(("flaw", "headers", "body"), VECTORS)
def test_every_part_of_a_published_vector_is_needed(flaw, headers: Mapping[str, str], body: bytes) -> None:
    for name in headers:
        assert flaw({key: value for key, value in headers.items() if key != name}, body) is Flaw.MISSING
        assert flaw({**headers, name: ""}, body) in {Flaw.MALFORMED, Flaw.MISMATCH}


def flipped(value: bytes, position: int) -> bytes:
    changed = bytearray(value)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


SENDERS = [("github", github), ("shopify", shopify), ("stripe", stripe), ("standard-webhooks", standard)]


@pytest.mark.parametrize(("verify", "sign"), SENDERS)
def test_every_secret_counts_so_that_it_can_be_changed(verify: str, sign) -> None:
    now = datetime.now(UTC)
    for secret in ("whsec_Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=", "cHJldmlvdXMgc2VjcmV0IG9mIHRlc3Q="):
        flaw = flaw_of(
            verify,
            sign(secret, b"{}"),
            b"{}",
            secrets="whsec_Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=, cHJldmlvdXMgc2VjcmV0IG9mIHRlc3Q=",
            now=now,
        )
        assert flaw is None
    assert (
        flaw_of(
            verify,
            sign("b3RoZXIgc2VjcmV0IG9mIHRoZSB0ZXN0cw==", b"{}"),
            b"{}",
            secrets="whsec_Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=",
            now=now,
        )
        is Flaw.MISMATCH
    )


@pytest.mark.parametrize(("verify", "sign"), [("stripe", stripe), ("standard-webhooks", standard)])
@pytest.mark.parametrize(
    ("age_s", "flaw"), [(0, None), (300, None), (-300, None), (301, Flaw.STALE), (-301, Flaw.STALE)]
)
def test_a_signed_time_may_be_five_minutes_from_now(verify: str, sign, age_s: int, flaw: Flaw | None) -> None:
    seconds = str(int(NOW.timestamp()) - age_s)
    assert (
        flaw_of(
            verify,
            sign("Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=", b"{}", seconds),
            b"{}",
            secrets="Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=",
        )
        is flaw
    )


@pytest.mark.parametrize("seconds", ["", "-1", "1e9", "\u0661\u0667", " 1", "1.5", "9" * 400, "\udcff"])
def test_a_signed_time_that_is_none_is_a_flaw(seconds: str) -> None:
    headers = {"webhook-id": "a", "webhook-timestamp": seconds, "webhook-signature": "v1,x"}
    assert flaw_of("standard-webhooks", headers, b"", secrets="Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=") is Flaw.MALFORMED
    assert flaw_of("stripe", {"Stripe-Signature": f"t={seconds},v1=x"}, b"") is Flaw.MALFORMED


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_the_generic_scheme_is_what_its_settings_say(algorithm: str, encoding: str) -> None:
    digest = hmac.new(b"current-secret", b"body", algorithm).digest()
    written = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    settings = {
        "hmac_header": "X-Sig",
        "hmac_algorithm": algorithm,
        "hmac_encoding": encoding,
        "hmac_prefix": "v0=",
    }
    assert flaw_of("hmac", {"x-sig": f"v0={written}"}, b"body", **settings) is None
    assert flaw_of("hmac", {"x-sig": written}, b"body", **settings) is Flaw.MISMATCH
    assert flaw_of("hmac", {}, b"body", **settings) is Flaw.MISSING


@given(st.text(max_size=80), st.binary(max_size=80))
@example("t=1,t=2,v1", b"")
@example(",", b"")
@example("v1,", b"")
def test_whatever_is_given_is_no_signature(text: str, body: bytes) -> None:
    for verify, headers in [
        ("github", {"X-Hub-Signature-256": text}),
        ("shopify", {"X-Shopify-Hmac-Sha256": text}),
        ("stripe", {"Stripe-Signature": text}),
        ("stripe", {"Stripe-Signature": f"t={SECONDS},{text}"}),
        ("standard-webhooks", {"webhook-id": text, "webhook-timestamp": SECONDS, "webhook-signature": text}),
        ("standard-webhooks", {"webhook-id": "a", "webhook-timestamp": text, "webhook-signature": text}),
    ]:
        assert flaw_of(verify, headers, body, secrets="Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM=") is not None


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=200))
def test_our_standard_webhooks_are_those_of_the_reference_library(key: bytes, body: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    text = body.decode("latin-1")
    ours = signature(signing_key(secret), webhook_id="a-1", timestamp=SECONDS, body=text.encode())
    assert ours == Webhook(secret).sign("a-1", NOW, text)
    assert signing_key(secret.rstrip("=")) == signing_key(secret.removeprefix("whsec_")) == key
