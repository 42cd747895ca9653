"""The senders that are known by name, one row each. Pure.

Their headers are recognized in every flow. If a request holds the headers of several senders, the first row counts.
"""

from collections.abc import Mapping
from types import MappingProxyType

from eventflow.senders.vocabulary import FirstMember, Header, HmacSignature, Item, Pointer, Sender, Text, Time
from eventflow.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

_ROWS = (
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    Sender(
        name="standard-webhooks",
        title="Standard Webhooks",
        signature=HmacSignature(
            header=SIGNATURE_HEADER,
            encoding="base64",
            separator=" ",
            prefix="v1,",
            signed="{id}.{timestamp}.{body}",
            timestamp=Header(TIMESTAMP_HEADER),
            id=Header(ID_HEADER),
            has_base64_secrets=True,
        ),
        id=Header(ID_HEADER),
        time=Time(place=Header(TIMESTAMP_HEADER), format="unix_s"),
    ),
    # https://shopify.dev/docs/apps/build/webhooks/subscribe/https
    Sender(
        name="shopify",
        title="Shopify",
        signature=HmacSignature(header="X-Shopify-Hmac-Sha256", encoding="base64"),
        id=Header("X-Shopify-Webhook-Id"),
        type=Text(parts=(Header("X-Shopify-Topic"),)),
        source=Text(parts=(Header("X-Shopify-Shop-Domain"),)),
        time=Time(place=Header("X-Shopify-Triggered-At"), format="rfc3339"),
    ),
    # https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
    Sender(
        name="github",
        title="GitHub",
        signature=HmacSignature(header="X-Hub-Signature-256", prefix="sha256="),
        id=Header("X-GitHub-Delivery"),
        type=Text(parts=(Header("X-GitHub-Event"),), suffix=FirstMember("action"), separator="."),
        source=Text(
            parts=(
                Header("X-GitHub-Hook-Installation-Target-Type"),
                Header("X-GitHub-Hook-Installation-Target-ID"),
            ),
            separator="/",
        ),
    ),
    # https://docs.stripe.com/webhooks/signature
    Sender(
        name="stripe",
        title="Stripe",
        signature=HmacSignature(
            header="Stripe-Signature",
            separator=",",
            prefix="v1=",
            signed="{timestamp}.{body}",
            timestamp=Item("t="),
        ),
        id=Pointer("/id"),
        type=Text(parts=(Pointer("/type"),)),
        time=Time(place=Pointer("/created"), format="unix_s"),
    ),
    Sender(name="hmac", title="an HMAC in a header of the operator's choice", signature=None),
)

SENDERS: Mapping[str, Sender] = MappingProxyType({row.name: row for row in _ROWS})
"""By name, in the order in which their headers count."""

NO_SENDER = "none"
"""The value of `EVENTFLOW_SOURCE__VERIFY` that demands no signature."""
