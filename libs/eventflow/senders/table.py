"""The senders that are known by name, one row each. Pure.

The headers of those with `is_known_by_headers` are recognized in every flow. If a request holds the headers of several
senders, the first row counts.
"""

from collections.abc import Mapping
from types import MappingProxyType

from eventflow.senders.presets import PRESETS, standard_webhooks, texts
from eventflow.senders.vocabulary import FirstMember, Header, Hmac, Item, Pointer, Sender, Text, Time
from eventflow.signing import ID_HEADER, TIMESTAMP_HEADER

_ROWS = (
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    Sender(
        name="standard-webhooks",
        title="Standard Webhooks",
        credential="secret that the sender shows, whsec_...; or its public key, whpk_...",
        authentication=standard_webhooks("webhook"),
        id=texts(Header(ID_HEADER)),
        time=(Time(place=Header(TIMESTAMP_HEADER), format="unix_s"),),
        is_known_by_headers=True,
    ),
    # https://shopify.dev/docs/apps/build/webhooks/subscribe/https
    Sender(
        name="shopify",
        title="Shopify",
        credential="client secret of your app; for webhooks from the admin, the secret under Settings > Notifications "
        "> Webhooks",
        authentication=(Hmac(signature=Header("X-Shopify-Hmac-Sha256"), encoding="base64"),),
        id=texts(Header("X-Shopify-Webhook-Id")),
        type=texts(Header("X-Shopify-Topic")),
        source=texts(Header("X-Shopify-Shop-Domain")),
        time=(Time(place=Header("X-Shopify-Triggered-At")),),
        is_known_by_headers=True,
    ),
    # https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
    Sender(
        name="github",
        title="GitHub",
        credential="secret in the settings of the webhook, where the content type must be application/json",
        authentication=(Hmac(signature=Header("X-Hub-Signature-256"), prefix="sha256="),),
        id=texts(Header("X-GitHub-Delivery")),
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
        credential="signing secret of the endpoint, whsec_...",
        authentication=(
            Hmac(
                signature=Header("Stripe-Signature"),
                separator=",",
                prefix="v1=",
                signed="{timestamp}.{body}",
                timestamp=Item("t="),
            ),
        ),
        id=texts(Pointer("/id")),
        type=texts(Pointer("/type")),
        time=(Time(place=Pointer("/created"), format="unix_s"),),
    ),
    *PRESETS,
)

SENDERS: Mapping[str, Sender] = MappingProxyType({row.name: row for row in _ROWS})
"""By name, in the order in which their headers count."""

NO_SENDER = "none"
"""The value of `EVENTFLOW_SOURCE__VERIFY` that demands no signature."""

OWN_HMAC = "hmac"
"""The value of `EVENTFLOW_SOURCE__VERIFY` for the HMAC that the flow's settings `HMAC_*` describe."""

RESERVED_NAMES = frozenset({NO_SENDER, OWN_HMAC})
"""Names that a sender of an operator cannot have."""
