"""Senders with every kind of handshake, as an operator describes them, and requests as they send them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

SECRET = "secret-of-the-tests"
VERIFY_TOKEN = "token/of the tests"

DESCRIPTIONS = """
[senders.meta-like]
authentication = { scheme = "hmac", signature = { header = "X-Hub-Signature-256" }, prefix = "sha256=" }
[[senders.meta-like.handshakes]]
method = "GET"
when = { place = { query = "hub.mode" }, equals = "subscribe" }
verify_token = { query = "hub.verify_token" }
challenge = { query = "hub.challenge" }
text = "{challenge}"

[senders.dropbox-like]
authentication = { scheme = "hmac", signature = { header = "X-Dropbox-Signature" } }
[[senders.dropbox-like.handshakes]]
method = "GET"
challenge = { query = "challenge" }
text = "{challenge}"

[senders.okta-like]
authentication = { scheme = "token", token = { header = "Authorization" } }
[[senders.okta-like.handshakes]]
method = "GET"
challenge = { header = "X-Okta-Verification-Challenge" }
json = { verification = "{challenge}" }

[senders.graph-like]
authentication = { scheme = "token", token = { pointer = "/value/0/clientState" } }
[[senders.graph-like.handshakes]]
challenge = { query = "validationToken" }
text = "{challenge}"

[senders.slack-like]
authentication = { scheme = "hmac", signature = { header = "X-Slack-Signature" }, prefix = "v0=" }
[[senders.slack-like.handshakes]]
when = { place = { pointer = "/type" }, equals = "url_verification" }
is_authenticated = true
challenge = { pointer = "/challenge" }
text = "{challenge}"

[senders.zoom-like]
authentication = { scheme = "hmac", signature = { header = "X-Zm-Signature" } }
[[senders.zoom-like.handshakes]]
when = { place = { pointer = "/event" }, equals = "endpoint.url_validation" }
is_authenticated = true
challenge = { pointer = "/payload/plainToken" }
digest = "hex"
json = { plainToken = "{challenge}", encryptedToken = "{digest}" }

[senders.azure-like]
authentication = { scheme = "token", token = { query = "token" } }
[[senders.azure-like.handshakes]]
when = { place = { header = "aeg-event-type" }, equals = "SubscriptionValidation" }
challenge = { pointer = "/0/data/validationCode" }
json = { validationResponse = "{challenge}" }
[[senders.azure-like.handshakes]]
method = "OPTIONS"
challenge = { header = "WebHook-Request-Origin" }
headers = { WebHook-Allowed-Origin = "{challenge}", WebHook-Allowed-Rate = "*", Allow = "POST" }

[senders.sns-like]
authentication = { scheme = "hmac", signature = { header = "X-Signature" } }
[[senders.sns-like.handshakes]]
when = { place = { header = "x-amz-sns-message-type" }, equals = "SubscriptionConfirmation" }
is_authenticated = true
visit = { pointer = "/SubscribeURL" }
visit_hosts = ["sns.*-*-*.amazonaws.com"]

[senders.discord-like]
authentication = { scheme = "hmac", signature = { header = "X-Signature" } }
[[senders.discord-like.handshakes]]
when = { place = { pointer = "/type" }, equals = 1 }
is_authenticated = true
json = { type = 1 }

[senders.asana-like]
authentication = { scheme = "hmac", signature = { header = "X-Hook-Signature" } }
[[senders.asana-like.handshakes]]
challenge = { header = "X-Hook-Secret" }
headers = { X-Hook-Secret = "{challenge}" }

[senders.xero-like]
authentication = { scheme = "hmac", signature = { header = "X-Xero-Signature" }, encoding = "base64" }
[[senders.xero-like.handshakes]]
when = { place = { pointer = "/events" }, equals = [] }
is_authenticated = true

[senders.twitter-like]
authentication = { scheme = "hmac", signature = { header = "X-Signature" }, encoding = "base64", prefix = "sha256=" }
[[senders.twitter-like.handshakes]]
method = "GET"
challenge = { query = "crc_token" }
digest = "base64"
json = { response_token = "sha256={digest}" }

[senders.woocommerce-like]
authentication = { scheme = "hmac", signature = { header = "X-WC-Webhook-Signature" }, encoding = "base64" }
[[senders.woocommerce-like.handshakes]]
when = [
    { place = { form = "webhook_id" } },
    { place = { header = "X-WC-Webhook-Signature" }, is_absent = true },
]

[senders.trello-like]
authentication = { scheme = "hmac", signature = { header = "X-Trello-Webhook" } }
[[senders.trello-like.handshakes]]
method = "HEAD"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshaking:
    """A handshake as a sender makes it, and the answer that it wants.

    Attributes:
        sender: The name of its description.
        signature: The name and form of its signature; None if it makes the handshake without.
    """

    sender: str
    method: str = "POST"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    signature: tuple[str, str] | None = None
    status: int = 200
    answer: bytes = b""
    answer_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def signed_headers(self) -> dict[str, str]:
        if self.signature is None:
            return dict(self.headers)
        name, form = self.signature
        return {**self.headers, name: form.format(digest_of(self.body).hex())}


def digest_of(text: bytes) -> bytes:
    return hmac.digest(SECRET.encode(), text, hashlib.sha256)


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


JSON = {"Content-Type": "application/json"}
XERO = b'{"events": [], "firstEventSequence": 0, "lastEventSequence": 0, "entropy": "S0m3r4Nd0mt3xt"}'

HANDSHAKES = {
    "meta": Handshaking(
        sender="meta-like",
        method="GET",
        query="hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=token%2Fof+the+tests",
        answer=b"1158201444",
    ),
    "dropbox": Handshaking(sender="dropbox-like", method="GET", query="challenge=abc%3Cb%3E", answer=b"abc<b>"),
    "okta": Handshaking(
        sender="okta-like",
        method="GET",
        headers={"X-Okta-Verification-Challenge": 'my"challenge'},
        answer=b'{"verification": "my\\"challenge"}',
    ),
    "graph": Handshaking(
        sender="graph-like",
        query="validationToken=Validation%3a+Testing+client+application+reachability+for+subscription%2fId%3a+1-2",
        headers={"Content-Type": "text/plain; charset=utf-8"},
        answer=b"Validation: Testing client application reachability for subscription/Id: 1-2",
    ),
    "slack": Handshaking(
        sender="slack-like",
        headers=JSON,
        body=b'{"token": "x", "challenge": "3eZbrw1aBm2rZgRNFdxV", "type": "url_verification"}',
        signature=("X-Slack-Signature", "v0={}"),
        answer=b"3eZbrw1aBm2rZgRNFdxV",
    ),
    "zoom": Handshaking(
        sender="zoom-like",
        headers=JSON,
        body=b'{"payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}, "event": "endpoint.url_validation"}',
        signature=("X-Zm-Signature", "{}"),
        answer=json.dumps(
            {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": digest_of(b"qgg8vlvZRS6UYooatFL8Aw").hex()}
        ).encode(),
    ),
    "azure": Handshaking(
        sender="azure-like",
        headers={**JSON, "aeg-event-type": "SubscriptionValidation"},
        body=b'[{"id": "2d1781af", "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}}]',
        answer=b'{"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}',
    ),
    "cloudevents": Handshaking(
        sender="azure-like",
        method="OPTIONS",
        headers={"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"},
        answer_headers={
            "WebHook-Allowed-Origin": "eventemitter.example.com",
            "WebHook-Allowed-Rate": "*",
            "Allow": "POST",
        },
    ),
    "discord": Handshaking(
        sender="discord-like",
        headers=JSON,
        body=b'{"id": "1", "type": 1}',
        signature=("X-Signature", "{}"),
        answer=b'{"type": 1}',
    ),
    "asana": Handshaking(
        sender="asana-like",
        headers={"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"},
        answer_headers={"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"},
    ),
    "xero": Handshaking(
        sender="xero-like", headers={**JSON, "X-Xero-Signature": base64_of(digest_of(XERO))}, body=XERO
    ),
    "twitter": Handshaking(
        sender="twitter-like",
        method="GET",
        query="crc_token=NDhlZTg5&nonce=1",
        answer=json.dumps({"response_token": f"sha256={base64_of(digest_of(b'NDhlZTg5'))}"}).encode(),
    ),
    "woocommerce": Handshaking(
        sender="woocommerce-like",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=b"webhook_id=12",
    ),
    "trello": Handshaking(sender="trello-like", method="HEAD"),
}
"""All but the one of SNS, for which another server is needed."""
