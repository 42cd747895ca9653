"""Every known sender, and more that are described in TOML only, at one live collector with a real broker."""

import asyncio
import base64
import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import aiohttp
import pytest

from eventflow.senders.sample import CannotSignError, Sample, sample_of
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Hmac, Pointer
from sandbox.processes import scrubbed_environment
from tests.support import preloaded
from tests.support.amqp import Amqp
from tests.support.sender_flows import ALL, DESCRIBED, SenderFlows, Sent, public_url, sender_flows
from tests.support.senders import KEY, TEXT_SECRET, VERIFY_TOKEN, secret_for

UNSIGNABLE = {"amazon-sns", "discord", "paypal"}
"""Senders of which a sample cannot be signed without their private key."""

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def running(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SenderFlows]:
    prefix = f"t{secrets.token_hex(4)}"
    with sender_flows(broker_url, tmp_path_factory.mktemp("senders"), prefix=prefix) as flows:
        yield flows


def sample(running: SenderFlows, name: str) -> Sample:
    url = public_url(running.flow(name))
    return sample_of(ALL[name], secrets=[secret_for(name)], url=url, event_id="id-1", now=datetime.now(UTC))


def sent(made: Sample) -> Sent:
    return Sent(query=urlencode(made.query), sub_path=made.sub_path, headers=made.headers, body=made.body)


@pytest.mark.parametrize("name", sorted(ALL.keys() - UNSIGNABLE))
async def test_an_event_is_accepted_with_the_answer_of_its_sender_and_keeps_its_id(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession, name: str
) -> None:
    made, sender = sample(running, name), ALL[name]
    ids = []
    for _ in range(2):
        got = await running.ask(http, name, sent(made))
        assert got.status == sender.answer.status, got.body
        assert (got.body != b"") == (sender.answer.text != "" or sender.answer.body == "json")
        assert sender.answer.text in got.body.decode()
        (message,) = await amqp.drain(running.queue(name))
        assert message.body == made.body
        ids.append(message.headers["cloudEvents:id"])
    if made.event_id is not None:
        assert ids == [made.event_id] * 2


@pytest.mark.parametrize("name", sorted(ALL.keys() - UNSIGNABLE))
async def test_a_request_without_authentication_is_refused(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession, name: str
) -> None:
    made = sample(running, name)
    for scheme in ALL[name].authentication:
        place = scheme.signature if isinstance(scheme, Hmac) else getattr(scheme, "token", None)
        if isinstance(place, Pointer):
            made.put(place, "wrong")
    bare = Sent(headers={"Content-Type": made.headers["Content-Type"]}, body=b"a=b" if made.form else made.body)
    got = await running.ask(http, name, bare)
    is_ping_of_woocommerce = name == "woocommerce" and made.form
    assert got.status == 401 or is_ping_of_woocommerce
    assert await amqp.drain(running.queue(name)) == []


@pytest.mark.parametrize("name", sorted(UNSIGNABLE))
async def test_a_sender_with_its_own_key_needs_it(running: SenderFlows, http: aiohttp.ClientSession, name: str) -> None:
    with pytest.raises(CannotSignError):
        sample(running, name)
    forged = Sent(
        headers=JSON, body=b'{"type": 1, "Type": "SubscriptionConfirmation", "SubscribeURL": "https://a.example"}'
    )
    assert (await running.ask(http, name, forged)).status == 401


def discord(body: bytes) -> Sent:
    seconds = str(int(datetime.now(UTC).timestamp()))
    signature = KEY.sign(seconds.encode() + body).signature.hex()
    return Sent(headers={**JSON, "X-Signature-Timestamp": seconds, "X-Signature-Ed25519": signature}, body=body)


async def test_discord_signs_its_events_and_its_ping(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    assert (await running.ask(http, "discord", discord(b'{"type": 1}'))).body == b'{"type": 1}'
    assert (await running.ask(http, "discord", discord(b'{"type": 0}'))).status == 204
    event = discord(b'{"type": 1, "event": {"type": "ENTITLEMENT_CREATE"}}')
    assert (await running.ask(http, "discord", event)).status == 204
    (message,) = await amqp.drain(running.queue("discord"))
    assert message.headers["cloudEvents:type"] == "ENTITLEMENT_CREATE"
    forged = replace(event, headers={**event.headers, "X-Signature-Ed25519": "00" * 64})
    assert (await running.ask(http, "discord", forged)).status == 401


def mac(text: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(TEXT_SECRET.encode(), text, algorithm)


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def slack(body: bytes) -> Sent:
    seconds = str(int(datetime.now(UTC).timestamp()))
    signature = "v0=" + mac(f"v0:{seconds}:".encode() + body).hex()
    return Sent(headers={**JSON, "X-Slack-Request-Timestamp": seconds, "X-Slack-Signature": signature}, body=body)


def zoom(body: bytes) -> Sent:
    signed = slack(body)
    names = {"X-Slack-Request-Timestamp": "x-zm-request-timestamp", "X-Slack-Signature": "x-zm-signature"}
    return replace(signed, headers={names.get(name, name): value for name, value in signed.headers.items()})


def xero(body: bytes) -> Sent:
    return Sent(headers={**JSON, "x-xero-signature": base64_of(mac(body))}, body=body)


def twitch(body: bytes, kind: str) -> Sent:
    at = datetime.now(UTC).isoformat()
    headers = {
        "Twitch-Eventsub-Message-Id": "m-1",
        "Twitch-Eventsub-Message-Timestamp": at,
        "Twitch-Eventsub-Message-Type": kind,
        "Twitch-Eventsub-Message-Signature": "sha256=" + mac(f"m-1{at}".encode() + body).hex(),
    }
    return Sent(headers={**JSON, **headers}, body=body)


TOKEN = urlencode({"token": TEXT_SECRET})
SUBSCRIBE = urlencode({"hub.mode": "subscribe", "hub.challenge": "1158", "hub.verify_token": VERIFY_TOKEN})
ORIGIN = {"WebHook-Request-Origin": "eventgrid.azure.net"}
VALIDATION = b'[{"data": {"validationCode": "512d38b6"}}]'

HANDSHAKES: dict[str, tuple[str, Callable[[], Sent], bytes]] = {
    "Meta": ("meta", lambda: Sent(method="GET", query=SUBSCRIBE), b"1158"),
    "Dropbox": ("dropbox", lambda: Sent(method="GET", query="challenge=abc"), b"abc"),
    "Trello": ("trello", lambda: Sent(method="HEAD"), b""),
    "Mandrill": ("mandrill", lambda: Sent(method="HEAD"), b""),
    "CloudEvents": ("cloudevents", lambda: Sent(method="OPTIONS", headers=ORIGIN), b""),
    "Event Grid, CloudEvents": ("azure-event-grid", lambda: Sent(method="OPTIONS", headers=ORIGIN, query=TOKEN), b""),
    "Event Grid": (
        "azure-event-grid",
        lambda: Sent(headers={**JSON, "aeg-event-type": "SubscriptionValidation"}, query=TOKEN, body=VALIDATION),
        b'{"validationResponse": "512d38b6"}',
    ),
    "Microsoft Graph": ("microsoft-graph", lambda: Sent(query="validationToken=a%20b%3Cc%3E"), b"a b<c>"),
    "Slack": ("slack", lambda: slack(b'{"type":"url_verification","challenge":"c"}'), b"c"),
    "Zoom": (
        "zoom",
        lambda: zoom(b'{"event":"endpoint.url_validation","payload":{"plainToken":"q"}}'),
        json.dumps({"plainToken": "q", "encryptedToken": mac(b"q").hex()}).encode(),
    ),
    "Xero": ("xero", lambda: xero(b'{"events":[],"entropy":"e"}'), b""),
    "Asana": ("asana", lambda: Sent(headers={"X-Hook-Secret": "s3"}), b""),
    "WooCommerce": ("woocommerce", lambda: Sent(headers=FORM, body=b"webhook_id=12"), b""),
    "Twitch": ("twitch", lambda: twitch(b'{"challenge":"c"}', "webhook_callback_verification"), b"c"),
    "X": (
        "x",
        lambda: Sent(method="GET", query="crc_token=NDhl"),
        json.dumps({"response_token": f"sha256={base64_of(mac(b'NDhl'))}"}).encode(),
    ),
    "WebSub": ("websub", lambda: Sent(method="GET", query=SUBSCRIBE), b"1158"),
    "Strava": ("strava", lambda: Sent(method="GET", query=SUBSCRIBE), b'{"hub.challenge": "1158"}'),
    "monday": ("monday", lambda: Sent(query=TOKEN, headers=JSON, body=b'{"challenge":"c"}'), b'{"challenge": "c"}'),
    "Okta": (
        "okta",
        lambda: Sent(method="GET", headers={"X-Okta-Verification-Challenge": "c"}),
        b'{"verification": "c"}',
    ),
    "Intercom": ("intercom", lambda: Sent(method="HEAD"), b""),
}


@pytest.mark.parametrize(("name", "make", "body"), HANDSHAKES.values(), ids=HANDSHAKES)
async def test_a_check_of_the_endpoint_is_answered_and_publishes_nothing(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession, name: str, make: Callable[[], Sent], body: bytes
) -> None:
    request = make()
    got = await running.ask(http, name, request)
    assert (got.status, got.body) == (200, body)
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    if body and not body.startswith(b"{"):
        assert got.headers["Content-Type"].startswith("text/plain")
    reflected = {"X-Hook-Secret": "X-Hook-Secret", "WebHook-Request-Origin": "WebHook-Allowed-Origin"}
    for given, answered in reflected.items():
        if given in request.headers:
            assert got.headers[answered] == request.headers[given]
    assert await amqp.drain(running.queue(name)) == []


@pytest.mark.parametrize(
    ("name", "refused", "status"),
    [
        ("meta", Sent(method="GET", query=SUBSCRIBE.replace(VERIFY_TOKEN, "other")), 403),
        ("strava", Sent(method="GET", query=SUBSCRIBE.replace(VERIFY_TOKEN, "other")), 403),
        ("slack", Sent(headers=JSON, body=b'{"type":"url_verification","challenge":"c"}'), 401),
        ("zoom", Sent(headers=JSON, body=b'{"event":"endpoint.url_validation","payload":{"plainToken":"q"}}'), 401),
        ("xero", Sent(headers={**JSON, "x-xero-signature": "AAAA"}, body=b'{"events":[]}'), 401),
        ("discord", Sent(headers=JSON, body=b'{"type": 1}'), 401),
        ("monday", Sent(headers=JSON, body=b'{"challenge":"c"}'), 401),
        ("dropbox", Sent(method="GET", query="challenge=a%0Ab"), 400),
        ("dropbox", Sent(method="GET", query="challenge=" + "a" * 1025), 400),
        ("microsoft-graph", Sent(query="validationToken=%00"), 400),
        ("github", Sent(method="GET", query="challenge=a"), 405),
        ("github", Sent(method="HEAD"), 405),
        ("github", Sent(method="OPTIONS", headers=ORIGIN), 405),
        ("github", Sent(query="validationToken=a"), 401),
    ],
)
async def test_a_false_check_of_the_endpoint_gets_nothing_back(
    running: SenderFlows, http: aiohttp.ClientSession, name: str, refused: Sent, status: int
) -> None:
    got = await running.ask(http, name, refused)
    assert got.status == status
    assert b"other" not in got.body
    assert b"aaaa" not in got.body


BODY = b'{"event_id": "e-1", "id": "e-1"}'


def in_header(name: str, form: str, signature: bytes | str) -> Sent:
    return Sent(
        headers={**JSON, name: form.format(signature if isinstance(signature, str) else signature.hex())}, body=BODY
    )


def with_time(name: str, form: str, text: str) -> Sent:
    seconds = str(int(datetime.now(UTC).timestamp()))
    return in_header(name, form.format(time=seconds, digest="{}"), mac(text.format(seconds).encode() + BODY))


def box() -> Sent:
    at = datetime.now(UTC).isoformat()
    headers = {"BOX-DELIVERY-TIMESTAMP": at, "BOX-SIGNATURE-SECONDARY": base64_of(mac(BODY + at.encode()))}
    return Sent(headers={**JSON, **headers}, body=BODY)


HAND_SIGNED: dict[str, Callable[[], Sent]] = {
    "box": box,
    "calcom": lambda: in_header("X-Cal-Signature-256", "{}", mac(BODY)),
    "calendly": lambda: with_time("Calendly-Webhook-Signature", "t={time},v1={digest}", "{}."),
    "clickup": lambda: in_header("X-Signature", "{}", mac(BODY)),
    "coinbase-commerce": lambda: in_header("X-CC-Webhook-Signature", "{}", mac(BODY)),
    "figma": lambda: Sent(
        headers=JSON, body=json.dumps({"passcode": TEXT_SECRET, "event_type": "FILE_UPDATE"}).encode()
    ),
    "intercom": lambda: in_header("X-Hub-Signature", "sha1={}", mac(BODY, "sha1")),
    "jira": lambda: in_header("X-Hub-Signature", "sha256={}", mac(BODY)),
    "launchdarkly": lambda: in_header("X-LD-Signature", "{}", mac(BODY)),
    "lemon-squeezy": lambda: in_header("X-Signature", "{}", mac(BODY)),
    "monday": lambda: Sent(query=TOKEN, headers=JSON, body=b'{"event": {"type": "update", "triggerUuid": "u"}}'),
    "mux": lambda: with_time("Mux-Signature", "t={time},v1={digest}", "{}."),
    "okta": lambda: Sent(headers={**JSON, "Authorization": TEXT_SECRET}, body=BODY),
    "paddle": lambda: with_time("Paddle-Signature", "ts={time};h1={digest}", "{}:"),
    "pagerduty": lambda: in_header("X-PagerDuty-Signature", "v1=" + "0" * 64 + ",v1={}", mac(BODY)),
    "razorpay": lambda: in_header("X-Razorpay-Signature", "{}", mac(BODY)),
    "sentry": lambda: in_header("Sentry-Hook-Signature", "{}", mac(BODY)),
    "strava": lambda: Sent(sub_path=f"/{TEXT_SECRET}", headers=JSON, body=BODY),
    "twitch": lambda: twitch(BODY, "notification"),
    "typeform": lambda: in_header("Typeform-Signature", "sha256={}", base64_of(mac(BODY))),
    "vercel": lambda: in_header("X-Vercel-Signature", "{}", mac(BODY, "sha1")),
    "websub": lambda: in_header("X-Hub-Signature", "sha1={}", mac(BODY, "sha1")),
    "x": lambda: in_header("x-twitter-webhooks-signature", "sha256={}", base64_of(mac(BODY))),
    "zapier": lambda: Sent(headers={**JSON, "X-Zapier-Secret": TEXT_SECRET}, body=BODY),
}


def test_each_described_sender_is_signed_by_hand() -> None:
    assert HAND_SIGNED.keys() == DESCRIBED.keys()


@pytest.mark.parametrize("name", HAND_SIGNED)
async def test_a_sender_that_is_described_in_toml_only_is_verified(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession, name: str
) -> None:
    signed = HAND_SIGNED[name]()
    assert (await running.ask(http, name, signed)).status == ALL[name].answer.status
    assert [message.body for message in await amqp.drain(running.queue(name))] == [signed.body]
    names = {"Content-Type", "Twitch-Eventsub-Message-Type"}
    forged = Sent(
        headers={key: value if key in names else f"{value}0" for key, value in signed.headers.items()},
        body=signed.body.replace(TEXT_SECRET.encode(), b"forged"),
    )
    assert (await running.ask(http, name, forged)).status == 401


async def test_the_command_signs_a_sample_of_each_sender_whose_key_is_known(running: SenderFlows, amqp: Amqp) -> None:
    at_once = asyncio.Semaphore(2)
    settings = {"EVENTFLOW_CONFIG": str(running.config), "EVENTFLOW_BROKER__URL": running.broker_url}
    environment = scrubbed_environment() | settings

    async def run(name: str) -> tuple[int, str]:
        url = f"{running.service.url.rpartition('/')[0]}/{running.flow(name)}"
        command = ["eventflow.cli", "source", "test", running.flow(name), "--url", url, "--json"]
        async with at_once:
            status, stdout, stderr = await asyncio.to_thread(preloaded.run, command, env=environment)
        return status, stdout + stderr

    for name, (status, output) in zip(SENDERS, await asyncio.gather(*map(run, SENDERS)), strict=True):
        assert status == (1 if name in UNSIGNABLE else 0), f"{name}: {output}"
        assert "Traceback" not in output
        assert len(await amqp.drain(running.queue(name))) == (0 if name in UNSIGNABLE else 1)


@pytest.mark.parametrize(
    ("name", "signed"),
    [
        ("github", lambda: in_header("X-Hub-Signature-256", "sha256={}", mac(BODY).hex().upper())),
        ("shopify", lambda: in_header("X-Shopify-Hmac-Sha256", "{}", base64_of(mac(BODY)).rstrip("="))),
    ],
)
async def test_upper_case_hex_and_base64_without_padding_are_accepted(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession, name: str, signed: Callable[[], Sent]
) -> None:
    assert (await running.ask(http, name, signed())).status == 202
    assert len(await amqp.drain(running.queue(name))) == 1


HUBSPOT = {"subscriptionId": 2, "objectId": 3, "occurredAt": 4, "subscriptionType": "contact.creation"}


def hubspot(running: SenderFlows, elements: list[object]) -> Sent:
    body, time = json.dumps(elements).encode(), str(int(datetime.now(UTC).timestamp() * 1000))
    address = f"{public_url(running.flow('hubspot'))}?batch=1"
    signature = base64_of(mac(b"POST" + address.encode() + body + time.encode()))
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": time}
    return Sent(query="batch=1", headers={**JSON, **headers}, body=body)


async def test_the_elements_of_an_array_become_events_of_their_own_by_the_address(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    arrays = {
        "azure-event-grid": Sent(query=f"batch=1&{TOKEN}", headers=JSON, body=b'[{"id": "a"}, {"id": "b"}]'),
        "hubspot": hubspot(running, [{**HUBSPOT, "eventId": event} for event in ("a", "b")]),
    }
    for name, array in arrays.items():
        assert (await running.ask(http, name, array)).status == 200
        ids = [message.headers["cloudEvents:id"] for message in await amqp.drain(running.queue(name))]
        assert ids == (["a", "b"] if name == "azure-event-grid" else ["a-2-3-4", "b-2-3-4"])


async def test_an_array_with_several_events_has_no_id_of_one_of_them(
    running: SenderFlows, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    for body in (b'[{"id": "a"}]', b'[{"id": "a"}, {"id": "b"}]'):
        sent_array = Sent(query=TOKEN, headers=JSON, body=body)
        assert (await running.ask(http, "azure-event-grid", sent_array)).status == 200
    first, second = (
        message.headers["cloudEvents:id"] for message in await amqp.drain(running.queue("azure-event-grid"))
    )
    assert first == "a"
    assert second != "a"
