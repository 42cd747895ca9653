"""The settings of a first file, each with its comment. Pure."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eventflow.topology import DEFAULT_FLOW

Value = str | int | list[str] | dict[str, str]

BROKER_URL = "amqp://guest:guest@127.0.0.1:5672/"
TARGET_URL = "<the URL of your API>"
"""A service does not start with a text in these brackets. There is no comma in one: it would separate secrets."""

COMMON_RATE_PER_S = 2
COMPOSE_SECRETS = "/run/secrets/sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A setting in the file.

    Attributes:
        is_active: If not, it is a suggestion and written as a comment.
        is_of_compose: Whether deploy/compose.yaml sets it. A second value in `.env` would be an error there.
        compose_file: File of the secret in a container of Compose.
    """

    key: str
    value: Value
    comment: str
    is_active: bool = True
    is_of_compose: bool = False
    compose_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A section of the settings by its names, such as `("flows", "shopify", "source")`."""

    path: tuple[str, ...]
    comment: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A known sender of webhooks: the name of its flow, and the settings that it needs.

    Attributes:
        signed_in: The header with the signature.
        blank: The name of the secret, which stands in its place.
        blank_means: The rest of that name: the place where the sender shows the secret.
    """

    flow: str
    title: str
    signed_in: str
    blank: str
    blank_means: str
    more: tuple[Entry, ...] = ()
    of_target: tuple[Entry, ...] = ()
    of_collector: tuple[Entry, ...] = ()


_CLOCK = Entry(key="tolerance_s", value=300, comment="age of a signature; the clock of this machine must be correct")

PROVIDERS: Mapping[str, Provider] = {
    "shopify": Provider(
        flow="shopify",
        title="Shopify",
        signed_in="X-Shopify-Hmac-Sha256",
        blank="client secret",
        blank_means="of your app; for webhooks from the admin, the secret under Settings > Notifications > Webhooks",
        more=(Entry(key="max_body_bytes", value=2_097_152, comment="orders with many line items are large"),),
        of_target=(
            Entry(
                key="feedback",
                value="shopify",
                comment="if the target is Shopify's own REST API; `shopify-graphql` for its GraphQL API",
                is_active=False,
            ),
        ),
    ),
    "github": Provider(
        flow="github",
        title="GitHub",
        signed_in="X-Hub-Signature-256",
        blank="secret",
        blank_means="in the settings of the webhook, where the content type must be application/json",
        more=(
            Entry(
                key="max_body_bytes",
                value=26_214_400,
                comment="GitHub's own limit; RabbitMQ 4 accepts 16 MiB unless max_message_size is higher",
            ),
        ),
        of_collector=(
            Entry(key="max_in_flight_bytes", value=268_435_456, comment="several of the largest bodies at once"),
        ),
    ),
    "stripe": Provider(
        flow="stripe",
        title="Stripe",
        signed_in="Stripe-Signature",
        blank="signing secret",
        blank_means="of the endpoint, whsec_...",
        more=(_CLOCK,),
    ),
    "standard-webhooks": Provider(
        flow="partner",
        title="Standard Webhooks",
        signed_in="webhook-signature",
        blank="secret",
        blank_means="that the sender shows, whsec_...",
        more=(_CLOCK,),
        of_target=(
            Entry(
                key="signing_secrets",
                value=["<secret of your API>"],
                comment="signs the requests to your API by the same standard",
                is_active=False,
            ),
        ),
    ),
}
"""By the value of `verify`."""


def tables_for(provider_name: str | None, directory: Path) -> tuple[Table, ...]:
    """Return the tables of a first file; without a provider, for senders with an API key.

    Args:
        directory: The directory in which the spool is placed.
    """
    provider = None if provider_name is None else PROVIDERS[provider_name]
    flow = DEFAULT_FLOW if provider is None else provider.flow
    prefix = () if provider is None else ("flows", flow)
    return (
        Table(path=("broker",), comment="RabbitMQ, which stores the events", entries=_BROKER),
        Table(
            path=("collector",),
            comment="the service that accepts events",
            entries=(*_collector(prefix, directory), *(() if provider is None else provider.of_collector)),
        ),
        Table(path=(*prefix, "source"), comment=f"the sender of the flow {flow}", entries=_source(provider_name)),
        Table(
            path=(*prefix, "target"),
            comment="the API that receives the events",
            entries=(*_TARGET, *(() if provider is None else provider.of_target)),
        ),
    )


_BROKER = (
    Entry(key="url", value=BROKER_URL, comment="user, password and host; amqps:// for TLS", is_of_compose=True),
    Entry(
        key="management_url",
        value="http://127.0.0.1:15672",
        comment="RabbitMQ's management API, which shows policies that could delete events",
        is_active=False,
    ),
)
_TARGET = (
    Entry(key="url", value=TARGET_URL, comment="receives each event as a POST request"),
    Entry(
        key="rate_per_s",
        value=COMMON_RATE_PER_S,
        comment="the limit of this API per second, for all processors together",
    ),
    Entry(key="burst", value=1, comment="events that this API accepts at once after a pause"),
    Entry(
        key="headers",
        value={"Authorization": "Bearer <token>"},
        comment="more headers of each request",
        is_active=False,
    ),
)


def _collector(prefix: tuple[str, ...], directory: Path) -> tuple[Entry, ...]:
    address = "/".join(["/events", *prefix[1:]])
    return (
        Entry(
            key="host",
            value="127.0.0.1",
            comment="senders come through a proxy or a tunnel with TLS; 0.0.0.0 is every address",
            is_of_compose=True,
        ),
        Entry(key="port", value=8080, comment=f"senders post to https://YOUR-HOST{address}", is_of_compose=True),
        Entry(
            key="spool_dir",
            value=str(directory / "spool"),
            comment="keeps events while RabbitMQ is away; on a disk that outlives the process",
            is_of_compose=True,
        ),
    )


def _source(provider_name: str | None) -> tuple[Entry, ...]:
    if provider_name is None:
        return (
            Entry(
                key="api_keys",
                value=[secrets.token_urlsafe(24)],
                comment="a new key, which senders put into the header X-Api-Key",
                compose_file=f"{COMPOSE_SECRETS}/{DEFAULT_FLOW}",
            ),
        )
    provider = PROVIDERS[provider_name]
    return (
        Entry(key="verify", value=provider_name, comment=f"the signature in {provider.signed_in}"),
        Entry(
            key="secrets",
            value=[f"<{provider.blank}>"],
            comment=f"the {provider.blank} {provider.blank_means}",
            compose_file=f"{COMPOSE_SECRETS}/{provider.flow}",
        ),
        *provider.more,
    )
