"""The parts of a request that its flow forwards to the target: headers of an allow-list, and the query. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never
from urllib.parse import quote, unquote_plus

from eventflow.forwarded import (
    FORWARDED_MAX_BYTES,
    Forwarded,
    Parts,
    forwarded,
    is_forwardable,
    is_forwardable_query,
    is_forwardable_value,
)
from eventflow.senders.vocabulary import (
    Basic,
    Certificate,
    Ed25519,
    Header,
    Hmac,
    Place,
    Proxied,
    Query,
    Scheme,
    Sender,
    Token,
)
from eventflow.settings.source import SourceSettings

ANY = "*"
"""The end of a pattern, for any rest of a name."""

OWN_PARAMETERS = frozenset({"batch"})
"""Parameters of the query for the collector itself."""

_SECRET = re.compile(r"auth|cookie|credential|hmac|key|password|secret|sig|token", re.IGNORECASE)
"""Parts of the names of headers that often have a secret or a signature."""

FRAME_BYTES = 64
"""Size of the text around the parts, and more."""

_UNENCODED = re.compile(r"[^!-~]|#")


class Forwarding:
    """The allow-list of a flow.

    A name in it forwards the header of that name. A pattern such as `X-Shopify-*` forwards all headers with that
    beginning, except those that may have a secret, by their names: they must be in the list by name. Headers of the
    connection, and those that Event Flow sets itself, are never forwarded.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        forwards_query: bool = False,
        secret_headers: Iterable[str] = (),
        secret_parameters: Iterable[str] = (),
    ) -> None:
        """Prepare the list.

        Args:
            names: Names of headers, and patterns.
            forwards_query: Whether the query is forwarded too.
            secret_headers: Headers that authenticate the sender: no pattern forwards them.
            secret_parameters: Parameters of the query that authenticate the sender: they are not forwarded.
        """
        self._names = frozenset(name.lower() for name in names if not name.endswith(ANY))
        self._beginnings = tuple(name.removesuffix(ANY).lower() for name in names if name.endswith(ANY))
        self._secret_headers = frozenset(name.lower() for name in secret_headers)
        self._forwards_query = forwards_query
        self._left_parameters = OWN_PARAMETERS | frozenset(secret_parameters)

    def forwarded_of(self, headers: Mapping[str, str], query: str) -> Forwarded | None:
        """Return the parts of a request to forward; None if it has none.

        If they are longer than a message can carry, as many as possible are kept: first the query, then the headers in
        their order. The number of the others is noted.

        Args:
            headers: Of the request. Names become lower case, because that of plain requests is known in this form only.
                Several with one name are joined by commas (RFC 9110, 5.3).
            query: As received, without the question mark.
        """
        chosen = self._headers_in(headers)
        kept = self._query_of(query) if self._forwards_query and query else ""
        if not chosen and not kept:
            return None
        usable = {name: value for name, value in chosen.items() if is_forwardable_value(value)}
        parts = Parts(headers=usable, query=kept, left_out=len(chosen) - len(usable))
        whole = forwarded(parts)
        return whole if len(whole.text) <= FORWARDED_MAX_BYTES else _cut(parts)

    def _headers_in(self, headers: Mapping[str, str]) -> dict[str, str]:
        ended = _of_connection(headers)
        chosen: dict[str, str] = {}
        for written, value in headers.items():
            name = written.lower()
            if self._allows(name) and name not in ended and value.strip():
                chosen[name] = f"{chosen[name]}, {value}" if name in chosen else value
        return chosen

    def _allows(self, name: str) -> bool:
        return (name in self._names or self._has_pattern_for(name)) and is_forwardable(name)

    def _has_pattern_for(self, name: str) -> bool:
        return name.startswith(self._beginnings) and name not in self._secret_headers and _SECRET.search(name) is None

    def _query_of(self, query: str) -> str:
        """Return the query without our parameters. Characters that a URL cannot have are percent-encoded."""
        parts = [part for part in query.split("&") if _name_of(part) not in self._left_parameters]
        kept = "&".join(parts)
        return kept if is_forwardable_query(kept) else _UNENCODED.sub(lambda match: _encoded(match[0]), kept)


def forwarding_of(source: SourceSettings, sender: Sender | None) -> Forwarding | None:
    """Prepare the allow-list of a flow's settings; None if it forwards nothing."""
    if not (source.forward_headers or source.forward_query):
        return None
    secrets = [place for scheme in (() if sender is None else sender.authentication) for place in _secrets_of(scheme)]
    return Forwarding(
        source.forward_headers,
        forwards_query=source.forward_query,
        secret_headers=[place.header for place in secrets if isinstance(place, Header)],
        secret_parameters=[place.query for place in secrets if isinstance(place, Query)],
    )


def _secrets_of(scheme: Scheme) -> Iterable[Place]:
    """Return the places of the tokens and signatures that authenticate a request."""
    match scheme:
        case Hmac() | Ed25519():
            return (scheme.signature,)
        case Certificate():
            return (scheme.signature,) if scheme.secret is None else (scheme.signature, scheme.secret)
        case Token():
            return (scheme.token,)
        case Basic():
            return (Header("Authorization"),)
        case Proxied():
            return (Header(scheme.header),)
        case _:
            assert_never(scheme)


def _name_of(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])


def _of_connection(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the headers that concern only the connection of the sender (RFC 9110, 7.6.1)."""
    return frozenset(name.strip().lower() for name in headers.get("Connection", "").split(","))


def _cut(wanted: Parts) -> Forwarded:
    """Keep the query, then the headers in their order: each that still fits."""
    left_bytes = FORWARDED_MAX_BYTES - FRAME_BYTES
    left_out, query, headers = wanted.left_out, "", {}
    if (size_bytes := _size_bytes(Parts(query=wanted.query))) <= left_bytes:
        query, left_bytes = wanted.query, left_bytes - size_bytes
    else:
        left_out += 1
    for name, value in wanted.headers.items():
        if (size_bytes := _size_bytes(Parts(headers={name: value}))) <= left_bytes:
            headers[name], left_bytes = value, left_bytes - size_bytes
        else:
            left_out += 1
    return forwarded(Parts(headers=headers, query=query, left_out=left_out))


def _size_bytes(parts: Parts) -> int:
    """Return the size of a part, in any case not less than it adds to the text."""
    return len(forwarded(parts).text)


def _encoded(character: str) -> str:
    return quote(character, safe="", errors="surrogateescape")
