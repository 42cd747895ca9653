"""Each known sender, signed by its own library or taken from its own documentation.

The libraries of Slack, Stripe and Svix are imported where they sign: together they take 0.8 s, which each process of a
test run would pay when it collects the tests.
"""

import base64
import hashlib
import hmac
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from standardwebhooks import Webhook as StandardWebhook
from twilio.request_validator import RequestValidator

from eventflow.senders.checks import problems_in
from eventflow.senders.reading import read_senders
from eventflow.senders.sample import CannotSignError, sample_of
from eventflow.senders.table import SENDERS
from eventflow.senders.writing import as_toml
from eventflow.settings.root import Settings
from eventflow_collector.intake.flow import Flow, flow_of
from eventflow_collector.senders.request import Request
from tests.support.requests import request_of
from tests.support.senders import KEY, STANDARD_SECRET, TEXT_SECRET, secret_for, source_for

NOW = datetime(2026, 3, 2, 10, 20, 30, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
URL = "https://hooks.example.com/events/f"


@cache
def flow_with(verify: str, secret: str | None = None, public_url: str = URL) -> Flow:
    source = source_for(verify, public_url=public_url, secret=secret)
    return flow_of("default", Settings.model_validate({"source": source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request that a sender has signed.

    Attributes:
        now: Time at which it arrives.
        unsigned: Headers that the signature does not cover.
    """

    verify: str
    headers: Mapping[str, str]
    body: bytes = b'{"id": "1", "n": "\\u00e4"}'
    query: str = ""
    secret: str | None = None
    public_url: str = URL
    now: datetime = NOW
    unsigned: frozenset[str] = field(default=frozenset({"Content-Type"}))

    def accepted(self, now: datetime | None = None) -> bool:
        """Whether the collector accepts it."""
        authenticate = flow_with(self.verify, self.secret, self.public_url).authenticate
        assert authenticate is not None
        return authenticate(self.request, now or self.now) is None

    @property
    def request(self) -> Request:
        return request_of(self.headers, self.body, query=self.query)


def mac(body: bytes, *, secret: str = TEXT_SECRET, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), body, algorithm)


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


BODY = Signed.__dataclass_fields__["body"].default


def stripe() -> Signed:
    from stripe import WebhookSignature  # noqa: PLC0415 - see above

    signature = WebhookSignature._compute_signature(f"{SECONDS}.{BODY.decode()}", TEXT_SECRET)
    return Signed(verify="stripe", headers={"Stripe-Signature": f"t={SECONDS},v1={signature}"})


def slack() -> Signed:
    from slack_sdk.signature import SignatureVerifier  # noqa: PLC0415 - see above

    signature = SignatureVerifier(TEXT_SECRET).generate_signature(timestamp=SECONDS, body=BODY)
    assert signature is not None
    return Signed(verify="slack", headers={"X-Slack-Request-Timestamp": SECONDS, "X-Slack-Signature": signature})


def slack_published() -> Signed:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    return Signed(
        verify="slack",
        secret="8f742231b10e8888abcd99yyyzzz85a5",
        headers={
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        body=b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        now=datetime.fromtimestamp(1531420618, UTC),
    )


def svix() -> Signed:
    from svix.webhooks import Webhook  # noqa: PLC0415 - see above

    signature = Webhook(STANDARD_SECRET).sign("msg_1", NOW, BODY.decode())
    headers = {"svix-id": "msg_1", "svix-timestamp": SECONDS, "svix-signature": signature}
    return Signed(verify="svix", headers=headers)


def standard(verify: str) -> Signed:
    signature = StandardWebhook(STANDARD_SECRET).sign("msg_1", NOW, BODY.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": SECONDS, "webhook-signature": signature}
    return Signed(verify=verify, headers=headers)


def standard_by_a_public_key() -> Signed:
    signature = KEY.sign(f"msg_1.{SECONDS}.".encode() + BODY).signature
    return Signed(
        verify="standard-webhooks",
        secret=f"whpk_{encoded(KEY.verify_key.encode())}",
        headers={
            "webhook-id": "msg_1",
            "webhook-timestamp": SECONDS,
            "webhook-signature": f"v1a,{encoded(signature)}",
        },
    )


def discord() -> Signed:
    signature = KEY.sign(SECONDS.encode() + BODY).signature
    return Signed(verify="discord", headers={"X-Signature-Timestamp": SECONDS, "X-Signature-Ed25519": signature.hex()})


def twilio_form() -> Signed:
    fields = {"From": "+14158675310", "Body": "a & b ä", "To": "+18005551212", "MessageSid": "SM1"}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "X-Twilio-Signature": RequestValidator(TEXT_SECRET).compute_signature(f"{URL}?a=1", fields),
    }
    return Signed(verify="twilio", headers=headers, body=urlencode(fields).encode(), query="a=1")


def twilio_json() -> Signed:
    query = f"bodySHA256={hashlib.sha256(BODY).hexdigest()}"
    signature = RequestValidator(TEXT_SECRET).compute_signature(f"{URL}?{query}", {})
    headers = {"Content-Type": "application/json", "X-Twilio-Signature": signature}
    return Signed(verify="twilio", headers=headers, query=query)


def in_header(verify: str, name: str, *, prefix: str = "", form: Callable[[bytes], str] = bytes.hex) -> Signed:
    return Signed(verify=verify, headers={name: f"{prefix}{form(mac(BODY))}"})


def adyen() -> Signed:
    """https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures"""
    item = {
        "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
        "amount": {"value": 1130, "currency": "EUR"},
        "pspReference": "7914073381342284",
        "eventCode": "AUTHORISATION",
        "merchantAccountCode": "TestMerchant",
        "merchantReference": "TestPayment-1407325143704",
        "originalReference": "",
        "success": "true",
    }
    body = json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": item}]}).encode()
    return Signed(verify="adyen", headers={}, body=body)


def mailgun() -> Signed:
    token = "0123456789abcdef0123456789abcdef0123456789abcdef01"
    signature = {"timestamp": SECONDS, "token": token, "signature": mac(f"{SECONDS}{token}".encode()).hex()}
    return Signed(verify="mailgun", headers={}, body=json.dumps({"signature": signature}).encode())


def linear() -> Signed:
    body = json.dumps({"action": "create", "webhookTimestamp": int(NOW.timestamp() * 1000)}).encode()
    return Signed(verify="linear", headers={"Linear-Signature": mac(body).hex()}, body=body)


def hubspot() -> Signed:
    time = str(int(NOW.timestamp() * 1000))
    signature = encoded(mac(b"POST" + URL.encode() + BODY + time.encode()))
    return Signed(verify="hubspot", headers={"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": time})


def zendesk() -> Signed:
    """https://developer.zendesk.com/documentation/webhooks/verifying/"""
    time = "2026-03-02T10:20:30Z"
    return Signed(
        verify="zendesk",
        headers={
            "X-Zendesk-Webhook-Signature": encoded(mac(time.encode() + BODY)),
            "X-Zendesk-Webhook-Signature-Timestamp": time,
        },
    )


def zoom() -> Signed:
    signature = mac(f"v0:{SECONDS}:".encode() + BODY).hex()
    return Signed(verify="zoom", headers={"x-zm-signature": f"v0={signature}", "x-zm-request-timestamp": SECONDS})


SQUARE_BODY = (
    b'{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f",'
    b'"created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}'
)


def square_published() -> Signed:
    """From the tests of https://github.com/square/square-python-sdk."""
    return Signed(
        verify="square",
        secret="Ibxx_5AKakO-3qeNVR61Dw",
        public_url="https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9",
        headers={"x-square-hmacsha256-signature": "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4="},
        body=SQUARE_BODY,
    )


def hubspot_published() -> Signed:
    """From the tests of https://github.com/HubSpot/hubspot-api-python."""
    return Signed(
        verify="hubspot",
        secret="yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        public_url="https://www.example.com/webhook_uri",
        headers={
            "X-HubSpot-Signature-v3": "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=",
            "X-HubSpot-Request-Timestamp": "15000000",
        },
        body=b"{'example_field':'example_value'}",
        now=datetime.fromtimestamp(15000, UTC),
    )


def svix_published() -> Signed:
    """From the tests of https://github.com/svix/svix-webhooks."""
    return Signed(
        verify="svix",
        headers={
            "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "svix-timestamp": "1614265330",
            "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        body=b'{"test": 2432232314}',
        now=datetime.fromtimestamp(1614265330, UTC),
    )


def gitlab_with_a_signing_token() -> Signed:
    """https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944"""
    return replace(standard("gitlab"), secret=STANDARD_SECRET)


def mandrill() -> Signed:
    fields = {"mandrill_events": "[]"}
    signed = URL.encode() + b"mandrill_events[]"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Mandrill-Signature": encoded(mac(signed, algorithm="sha1")),
    }
    return Signed(verify="mandrill", headers=headers, body=urlencode(fields).encode())


def github_published() -> Signed:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    return Signed(
        verify="github",
        secret="It's a Secret to Everybody",
        headers={"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        body=b"Hello, World!",
    )


SIGNED: dict[str, Callable[[], Signed]] = {
    "adyen": adyen,
    "asana": lambda: in_header("asana", "X-Hook-Signature"),
    "bitbucket": lambda: in_header("bitbucket", "X-Hub-Signature", prefix="sha256="),
    "discord": discord,
    "docusign": lambda: in_header("docusign", "X-DocuSign-Signature-1", form=encoded),
    "docusign, tenth key": lambda: in_header("docusign", "X-DocuSign-Signature-10", form=encoded),
    "dropbox": lambda: in_header("dropbox", "X-Dropbox-Signature"),
    "gitea": lambda: in_header("gitea", "X-Gitea-Signature"),
    "github": github_published,
    "gitlab, signing token": gitlab_with_a_signing_token,
    "hubspot": hubspot,
    "linear": linear,
    "mailgun": mailgun,
    "mandrill": mandrill,
    "meta": lambda: in_header("meta", "X-Hub-Signature-256", prefix="sha256="),
    "shopify": lambda: in_header("shopify", "X-Shopify-Hmac-Sha256", form=encoded),
    "slack": slack,
    "slack, published": slack_published,
    "square": lambda: Signed(
        verify="square", headers={"x-square-hmacsha256-signature": encoded(mac(URL.encode() + BODY))}
    ),
    "square, published": square_published,
    "hubspot, published": hubspot_published,
    "svix, published": svix_published,
    "standard-webhooks": lambda: standard("standard-webhooks"),
    "standard-webhooks, public key": standard_by_a_public_key,
    "stripe": stripe,
    "supabase": lambda: standard("supabase"),
    "svix": svix,
    "trello": lambda: Signed(
        verify="trello", headers={"X-Trello-Webhook": encoded(mac(BODY + URL.encode(), algorithm="sha1"))}
    ),
    "twilio": twilio_form,
    "twilio, JSON": twilio_json,
    "woocommerce": lambda: in_header("woocommerce", "X-WC-Webhook-Signature", form=encoded),
    "xero": lambda: in_header("xero", "x-xero-signature", form=encoded),
    "zendesk": zendesk,
    "zoom": zoom,
}
PARTLY_SIGNED = {"adyen", "mailgun"}
"""Their signatures cover parts of the body only."""


@pytest.mark.parametrize("make", SIGNED.values(), ids=SIGNED)
def test_a_request_as_the_sender_signs_it_is_accepted(make: Callable[[], Signed]) -> None:
    assert make().accepted()


@pytest.mark.parametrize("make", SIGNED.values(), ids=SIGNED)
def test_no_bit_of_a_request_may_change(make: Callable[[], Signed]) -> None:
    signed = make()
    if signed.verify not in PARTLY_SIGNED:
        for position in range(len(signed.body) * 8):
            body = flipped(signed.body, position)
            assert is_same_form(body, signed) or not replace(signed, body=body).accepted(), position
    for name, value in signed.headers.items():
        if name in signed.unsigned:
            continue
        for position in range(len(value) * 8):
            changed = flipped(value.encode(), position).decode(errors="surrogateescape")
            is_other_case = changed.lower() == value.lower()
            assert is_other_case or not replace(signed, headers={**signed.headers, name: changed}).accepted(), changed


@pytest.mark.parametrize("make", SIGNED.values(), ids=SIGNED)
def test_another_secret_is_refused(make: Callable[[], Signed]) -> None:
    signed = make()
    secret = signed.secret or secret_for(signed.verify)
    other = secret[:-2] + ("ab" if not secret.endswith("ab") else "cd")
    if signed.verify != "discord" and not secret.startswith("whpk_"):  # not every number is a key of that curve
        assert not replace(signed, secret=other).accepted()


@pytest.mark.parametrize(
    "make", [stripe, slack, svix, discord, mailgun, linear, hubspot, zendesk, zoom, standard_by_a_public_key]
)
def test_an_old_request_is_refused(make: Callable[[], Signed]) -> None:
    signed = make()
    assert signed.accepted(signed.now + timedelta(seconds=299))
    assert not signed.accepted(signed.now + timedelta(seconds=301))
    assert not signed.accepted(signed.now - timedelta(seconds=301))


def is_same_form(body: bytes, signed: Signed) -> bool:
    """Return whether a changed body is another spelling of the same form, whose values are signed as decoded."""
    is_form = signed.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
    return is_form and fields_of(body) == fields_of(signed.body)


def fields_of(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("latin-1"), encoding="latin-1")  # each byte as it is: a changed one need not be UTF-8


def flipped(value: bytes, position: int) -> bytes:
    changed = bytearray(value)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


@pytest.mark.parametrize("name", SENDERS)
def test_a_description_is_sound_and_an_operator_can_write_it_in_toml(name: str) -> None:
    sender = SENDERS[name]
    assert list(problems_in(sender)) == []
    text = as_toml(sender, name="mine")
    assert replace(read_senders(tomllib.loads(text)["senders"])["mine"], name=name) == sender
    assert sender.credential


@pytest.mark.parametrize("name", SENDERS)
def test_a_sample_request_is_accepted(name: str) -> None:
    try:
        sample = sample_of(SENDERS[name], secrets=[secret_for(name)], url=URL, event_id="id-1", now=NOW)
    except CannotSignError:
        assert name in {"amazon-sns", "discord", "paypal"}
        return
    request = request_of(sample.headers, sample.body, query=urlencode(sample.query), sub_path=sample.sub_path)
    flow = flow_with(name)
    assert flow.authenticate is not None
    assert flow.authenticate(request, NOW) is None
    assert flow.identity.id_of(request) == sample.event_id


def test_a_partly_signed_body_has_no_second_member_that_a_target_might_read() -> None:
    signed = adyen()
    for first in (b'"pspReference": "forged", "pspReference"', b'"amount": {"value": 1}, "pspReference"'):
        forged = signed.body.replace(b'"pspReference"', first)
        assert forged != signed.body
        assert not replace(signed, body=forged).accepted()


@pytest.mark.parametrize("between", [[], [None], [""], [{}]])
def test_two_items_of_adyen_are_refused_since_only_one_is_verified(between: list[object]) -> None:
    signed = adyen()
    document = json.loads(signed.body)
    document["notificationItems"] += [*between, {"NotificationRequestItem": {"pspReference": "forged"}}]
    assert not replace(signed, body=json.dumps(document).encode()).accepted()


HUBSPOT = {"eventId": 1, "subscriptionId": 2, "objectId": 3, "occurredAt": 4, "subscriptionType": "contact.creation"}
MESSAGE = {"id": "wamid.1"}
WHATSAPP = {"messages": [MESSAGE], "metadata": {"phone_number_id": "7"}}
ZOOM = {"event": "meeting.started", "event_ts": 1, "payload": {"object": {"uuid": "u", "id": "5"}}}
ENVELOPE = {"event": "recipient-completed", "generatedDateTime": "2026-03-02T10:20:30Z", "data": {"envelopeId": "e"}}


@pytest.mark.parametrize(
    ("verify", "one", "other"),
    [
        ("azure-event-grid", [{"id": "a"}], [{"id": "a"}, {"id": "b"}]),
        ("docusign", ENVELOPE, {**ENVELOPE, "data": {"envelopeId": "e", "recipientId": "2"}}),
        ("hubspot", [HUBSPOT], [{**HUBSPOT, "occurredAt": 5}]),
        ("hubspot", [HUBSPOT], [HUBSPOT, {**HUBSPOT, "eventId": 6}]),
        ("meta", {"entry": [{"changes": [{"value": WHATSAPP}]}]}, {"entry": [{"changes": [{"value": WHATSAPP}] * 2}]}),
        (
            "meta",
            {"entry": [{"messaging": [{"message": {"mid": "m"}}]}]},
            {"entry": [{"messaging": [{"message": {"mid": "m", "is_deleted": True}}]}]},
        ),
        ("microsoft-graph", {"value": [{"id": "a"}]}, {"value": [{"id": "a"}, {"id": "b"}]}),
        ("woocommerce", {"id": 1}, {"id": 2}),
        ("zoom", ZOOM, {**ZOOM, "event_ts": 2}),
    ],
)
def test_different_events_have_different_ids_and_a_repeat_has_the_same(verify: str, one: Any, other: Any) -> None:
    # A request with several events has no id: if the sender groups them anew, one of them would be lost as a repeat.
    headers = {"X-WC-Webhook-Delivery-ID": "of that second"} if verify == "woocommerce" else {}
    identity = flow_with(verify).identity
    first, again, second = (
        identity.id_of(request_of(headers, json.dumps(body).encode())) for body in (one, one, other)
    )
    assert first == again
    assert first is not None
    assert second != first


def test_webhooks_of_gitlab_that_another_one_caused_do_not_share_an_id() -> None:
    identity = flow_with("gitlab").identity
    assert identity.id_of(request_of({"X-Gitlab-Event-UUID": "of the first one"})) is None
    assert identity.id_of(request_of({"X-Gitlab-Event-UUID": "of the first one", "Idempotency-Key": "own"})) == "own"
