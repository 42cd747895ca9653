"""The settings of a first file, each with its comment. Pure."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eventflow.senders.vocabulary import Sender, Signed
from eventflow.topology import DEFAULT_FLOW

Value = str | int | bool | list[str] | dict[str, str]

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
class More:
    """The settings that a known sender needs beside `verify` and `secrets`."""

    of_source: tuple[Entry, ...] = ()
    of_target: tuple[Entry, ...] = ()
    of_collector: tuple[Entry, ...] = ()


_CLAUSE_END = re.compile("[,;]| of ")
_CLOCK = Entry(key="tolerance_s", value=300, comment="age of a signature; the clock of this machine must be correct")
_VERIFY_TOKENS = Entry(
    key="verify_tokens", value=["<verify token>"], comment="text of your choice, which you enter at the sender too"
)
_CONFIRM = Entry(
    key="confirm_subscriptions", value=True, comment="fetch the address with which the sender confirms a subscription"
)

_MORE: Mapping[str, More] = {
    "shopify": More(
        of_source=(Entry(key="max_body_bytes", value=2_097_152, comment="orders with many line items are large"),),
        of_target=(
            Entry(
                key="feedback",
                value="shopify",
                comment="if the target is Shopify's own REST API; `shopify-graphql` for its GraphQL API",
                is_active=False,
            ),
        ),
    ),
    "github": More(
        of_source=(
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
    "standard-webhooks": More(
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
"""By the name of the sender."""


def tables_for(sender: Sender | None, directory: Path) -> tuple[Table, ...]:
    """Return the tables of a first file; without a sender, for senders with an API key.

    Args:
        sender: The sender of the webhooks.
        directory: The directory in which the spool is placed.
    """
    flow = DEFAULT_FLOW if sender is None else sender.name
    prefix = () if sender is None else ("flows", flow)
    more = More() if sender is None else _MORE.get(sender.name, More())
    return (
        Table(path=("broker",), comment="RabbitMQ, which stores the events", entries=_BROKER),
        Table(
            path=("collector",),
            comment="the service that accepts events",
            entries=(*_collector(prefix, directory), *more.of_collector),
        ),
        Table(
            path=(*prefix, "source"),
            comment=f"the sender of the flow {flow}",
            entries=_with_api_key() if sender is None else (*_of(sender), *more.of_source),
        ),
        Table(
            path=(*prefix, "target"), comment="the API that receives the events", entries=(*_TARGET, *more.of_target)
        ),
    )


_BROKER = (
    Entry(key="url", value=BROKER_URL, comment="user, password and host; amqps:// for TLS", is_of_compose=True),
    Entry(
        key="management_url",
        value="http://127.0.0.1:15672",
        comment="RabbitMQ's management API: policies that could delete events, and lost consumers",
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


def _with_api_key() -> tuple[Entry, ...]:
    return (
        Entry(
            key="api_keys",
            value=[secrets.token_urlsafe(24)],
            comment="a new key, which senders put into the header X-Api-Key",
            compose_file=f"{COMPOSE_SECRETS}/{DEFAULT_FLOW}",
        ),
    )


def _of(sender: Sender) -> tuple[Entry, ...]:
    """Return the settings of a sender's flow; which of them it needs, its description says."""
    entries = [
        Entry(key="verify", value=sender.name, comment=f"accept requests of {sender.title} only"),
        Entry(
            key="secrets",
            value=[f"<{_CLAUSE_END.split(sender.credential)[0]}>"],
            comment=f"the {sender.credential}",
            compose_file=f"{COMPOSE_SECRETS}/{sender.name}",
        ),
    ]
    signatures = [scheme for scheme in sender.authentication if isinstance(scheme, Signed)]
    if any("{url}" in scheme.signed for scheme in signatures):
        entries.append(
            Entry(
                key="public_url",
                value=f"https://<your host>/events/{sender.name}",
                comment="address of the endpoint as it is registered at the sender, which signs it",
            )
        )
    if any(scheme.timestamp is not None for scheme in signatures):
        entries.append(_CLOCK)
    if any(handshake.verify_token is not None for handshake in sender.handshakes):
        entries.append(_VERIFY_TOKENS)
    if any(handshake.visit is not None for handshake in sender.handshakes):
        entries.append(_CONFIRM)
    return tuple(entries)
