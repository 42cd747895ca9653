"""The senders that are known by name, one row each. Pure.

Their headers are recognized in every flow. If a request holds the headers of several senders, the first row counts.
"""

from collections.abc import Mapping
from types import MappingProxyType

from eventflow.senders.vocabulary import Ed25519, FirstMember, Header, Hmac, Item, Pointer, Sender, Text, Time
from eventflow.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER


def _one(place: Header | Pointer) -> tuple[Text, ...]:
    return (Text(parts=(place,)),)


_ROWS = (
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    Sender(
        name="standard-webhooks",
        title="Standard Webhooks",
        authentication=(
            Hmac(
                signature=Header(SIGNATURE_HEADER),
                encoding="base64",
                separator=" ",
                prefix="v1,",
                signed="{id}.{timestamp}.{body}",
                fields={"id": Header(ID_HEADER)},
                timestamp=Header(TIMESTAMP_HEADER),
                key="whsec",
            ),
            Ed25519(
                signature=Header(SIGNATURE_HEADER),
                encoding="base64",
                separator=" ",
                prefix="v1a,",
                signed="{id}.{timestamp}.{body}",
                fields={"id": Header(ID_HEADER)},
                timestamp=Header(TIMESTAMP_HEADER),
                key="whpk",
            ),
        ),
        id=_one(Header(ID_HEADER)),
        time=(Time(place=Header(TIMESTAMP_HEADER), format="unix_s"),),
        is_known_by_headers=True,
    ),
    # https://shopify.dev/docs/apps/build/webhooks/subscribe/https
    Sender(
        name="shopify",
        title="Shopify",
        authentication=(Hmac(signature=Header("X-Shopify-Hmac-Sha256"), encoding="base64"),),
        id=_one(Header("X-Shopify-Webhook-Id")),
        type=_one(Header("X-Shopify-Topic")),
        source=_one(Header("X-Shopify-Shop-Domain")),
        time=(Time(place=Header("X-Shopify-Triggered-At")),),
        is_known_by_headers=True,
    ),
    # https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
    Sender(
        name="github",
        title="GitHub",
        authentication=(Hmac(signature=Header("X-Hub-Signature-256"), prefix="sha256="),),
        id=_one(Header("X-GitHub-Delivery")),
        type=(Text(parts=(Header("X-GitHub-Event"),), suffix=FirstMember("action"), separator="."),),
        source=(
            Text(
                parts=(
                    Header("X-GitHub-Hook-Installation-Target-Type"),
                    Header("X-GitHub-Hook-Installation-Target-ID"),
                ),
                separator="/",
            ),
        ),
        is_known_by_headers=True,
    ),
    # https://docs.stripe.com/webhooks/signature
    Sender(
        name="stripe",
        title="Stripe",
        authentication=(
            Hmac(
                signature=Header("Stripe-Signature"),
                separator=",",
                prefix="v1=",
                signed="{timestamp}.{body}",
                timestamp=Item("t="),
            ),
        ),
        id=_one(Pointer("/id")),
        type=_one(Pointer("/type")),
        time=(Time(place=Pointer("/created"), format="unix_s"),),
    ),
)

SENDERS: Mapping[str, Sender] = MappingProxyType({row.name: row for row in _ROWS})
"""By name, in the order in which their headers count."""

NO_SENDER = "none"
"""The value of `EVENTFLOW_SOURCE__VERIFY` that demands no signature."""

OWN_HMAC = "hmac"
"""The value of `EVENTFLOW_SOURCE__VERIFY` for the HMAC that the flow's settings `HMAC_*` describe."""

RESERVED_NAMES = frozenset({NO_SENDER, OWN_HMAC})
"""Names that a sender of an operator cannot have."""
