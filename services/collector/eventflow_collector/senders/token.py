"""Schemes in which a request shows one of the flow's secrets itself. Pure."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from eventflow.json_pointer import values_at
from eventflow.senders.vocabulary import Header, Pointer, Proxied, Token
from eventflow.signing import header_bytes
from eventflow_collector.head import Peer
from eventflow_collector.senders.encoding import from_base64
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request, text_finder
from eventflow_collector.senders.secret_text import is_one_of

Network = IPv4Network | IPv6Network

CheckToken = Callable[[Request], Flaw | None]
"""Returns the reason why a request does not show one of the secrets; None if it does."""

BASIC_PREFIX = "Basic "


def token_check(scheme: Token, means: Means) -> CheckToken:
    """Prepare the check of a token."""
    secrets = _encoded(means)
    if isinstance(scheme.token, Pointer):
        return _pointer_check(scheme.token.pointer, secrets)
    find = text_finder(scheme.token)

    def check(request: Request) -> Flaw | None:
        given = find(request)
        if not given:
            return Flaw.NO_TOKEN
        token = _without_prefix(given, scheme.prefix)
        return Flaw.WRONG_TOKEN if token is None or not is_one_of(header_bytes(token), secrets) else None

    return check


def basic_check(means: Means) -> CheckToken:
    """Prepare the check of user and password (RFC 7617)."""
    secrets = _encoded(means)
    find = text_finder(Header("Authorization"))

    def check(request: Request) -> Flaw | None:
        given = find(request)
        if not given:
            return Flaw.NO_TOKEN
        encoded = _without_prefix(given, BASIC_PREFIX)
        credentials = None if encoded is None else from_base64(encoded)
        return Flaw.WRONG_TOKEN if credentials is None or not is_one_of(credentials, secrets) else None

    return check


def proxied_check(scheme: Proxied, means: Means) -> CheckToken:
    """Prepare the check of a header that a proxy in front sets."""
    secrets, trusted = _encoded(means), means.trusted_proxies

    def check(request: Request) -> Flaw | None:
        if not _is_trusted(request.peer, trusted):
            return Flaw.UNTRUSTED_PROXY
        lines = request.headers.getall(scheme.header, [])
        if not lines:
            return Flaw.NO_TOKEN
        # Of two lines one is not the proxy's: it has passed on a header that the client has set.
        is_right = len(lines) == 1 and is_one_of(header_bytes(lines[0]), secrets)
        return None if is_right else Flaw.WRONG_TOKEN

    return check


def _encoded(means: Means) -> Sequence[bytes]:
    return [secret.encode() for secret in means.secrets]


def _pointer_check(pointer: str, secrets: Sequence[bytes]) -> CheckToken:
    def check(request: Request) -> Flaw | None:
        values = values_at(request.document, pointer)
        texts = [value.encode() for value in values if isinstance(value, str)]
        if not texts:
            return Flaw.NO_TOKEN
        # The request is one: a single element without the token may have been added by another sender.
        are_right = [is_one_of(text, secrets) for text in texts]
        return None if len(texts) == len(values) and all(are_right) else Flaw.WRONG_TOKEN

    return check


def _without_prefix(text: str, prefix: str) -> str | None:
    """Return the rest of a text behind a prefix, in which the case of letters does not matter; None without it."""
    return text[len(prefix) :] if text[: len(prefix)].lower() == prefix.lower() else None


def _is_trusted(peer: Peer | None, trusted: Sequence[Network]) -> bool:
    address = None if peer is None else peer.address
    if address is None:
        return False
    parsed = ip_address(address)
    # On a socket for both families, a peer with IPv4 has an address of IPv6 that contains its own.
    own = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(own in network for network in trusted)
