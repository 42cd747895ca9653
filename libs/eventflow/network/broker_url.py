"""URLs of brokers, parsed here before a library gets them. Pure; no error shows any part of a URL.

If a password contains `#`, `/` or `?`, libraries take its rest as a port, a virtual host or a query, show it in their
errors, or connect to another host. For some parameters they disable verification at any value that they do not know. So
a URL is accepted only if it has exactly one reading, and its query may only have the parameters of a fixed list.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from eventflow.network.host import check_host, host_and_port, port_of

SHAPE = "amqp://user:password@host:port/vhost or amqps://... is expected"
ENCODING_ADVICE = (
    "percent-encode every character of its user, password and virtual host that is not an ASCII letter or digit "
    "(# is %23, / is %2F), "
    "or set EVENTFLOW_BROKER__USERNAME and EVENTFLOW_BROKER__PASSWORD instead"
)
DEFAULT_USER = "guest"
DEFAULT_VHOST = "/"
PORT, TLS_PORT = 5672, 5671

_URL = re.compile(
    r"(?P<scheme>(?i:amqps?))://"
    r"(?:(?P<userinfo>[^/?#\[\]@\\\s]*)@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\])"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<vhost>/[^?#\[\]@\s]*)?"
    r"(?:\?(?P<query>[^#@\s]*))?"
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Verification of the broker's certificate, and the client certificate.

    Attributes:
        server_name: The name that the broker's certificate must have; None for the host.
        cafile: PEM file of authorities. Without `cafile`, `capath` and `cadata`, the system's authorities are trusted.
        cadata: Authorities, PEM or DER.
    """

    verify: bool = True
    server_name: str | None = None
    cafile: str | None = None
    capath: str | None = None
    cadata: bytes | None = None
    certfile: str | None = None
    keyfile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """A broker, and the credentials for it.

    Attributes:
        host: A name or an address; an IPv6 address has no brackets.
        tls: None for a plain connection.
        mechanism: `plain`, or `external` for a client certificate instead of a password.
        ignored: Parameters of the query that have no effect.
    """

    host: str
    port: int
    username: str = DEFAULT_USER
    password: str = field(default=DEFAULT_USER, repr=False)
    vhost: str = DEFAULT_VHOST
    tls: Tls | None = None
    mechanism: str = "plain"
    ignored: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Host and port, for logs."""
        return host_and_port(self.host, self.port)


def parse_broker_url(url: str) -> BrokerUrl:
    """Parse a URL.

    The virtual host is percent-decoded once, by RabbitMQ's URI specification. Unlike there, an empty one is `/`.

    Raises:
        ValueError: It has no reading, or more than one. The message states the expected form, and no part of the URL.
    """
    parts = _URL.fullmatch(url)
    if parts is None or not (url.isascii() and url.isprintable()):
        raise ValueError(f"{SHAPE}; {ENCODING_ADVICE}")
    for part in (parts["userinfo"], parts["vhost"], parts["query"]):
        _check_escapes(part or "")
    username, password = _credentials(parts["userinfo"])
    is_secure = parts["scheme"].lower() == "amqps"
    options = _options(parts["query"] or "")
    certificates = {name: value for name, value in options.items() if name in Tls.__dataclass_fields__}
    if certificates and not is_secure:
        raise ValueError("its query has TLS parameters, which have no effect with amqp://; amqps:// is expected")
    return BrokerUrl(
        host=_host(parts["host"]),
        port=_port(parts["port"] or "") or (TLS_PORT if is_secure else PORT),
        username=username,
        password=password,
        vhost=unquote((parts["vhost"] or "/")[1:]) or DEFAULT_VHOST,
        tls=Tls(**certificates) if is_secure else None,
        mechanism=options.get("mechanism", "plain"),
        ignored=tuple(name for name in _IGNORED if name in options),
    )


def has_userinfo(url: str) -> bool:
    """Whether a checked URL names a user."""
    return "@" in url


def with_credentials(url: str, *, username: str, password: str) -> str:
    """Return a checked URL without a user with this user and password added, percent-encoded."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(username, safe='')}:{quote(password, safe='')}@{rest}"


def _check_escapes(text: str) -> None:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"a % in it is followed by two hexadecimal digits; {ENCODING_ADVICE}")
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"a percent-encoded part of it is not UTF-8; {ENCODING_ADVICE}") from None


def _credentials(userinfo: str | None) -> tuple[str, str]:
    if userinfo is None:
        return DEFAULT_USER, DEFAULT_USER
    user, colon, password = userinfo.partition(":")
    if not user or (colon and not password):
        raise ValueError(f"the user or the password in it is empty; {SHAPE}")
    return unquote(user), unquote(password) if colon else DEFAULT_USER


def _host(host: str) -> str:
    name = host.removeprefix("[").removesuffix("]")
    try:
        check_host(name)
    except ValueError as error:
        raise ValueError(f"{error}; {SHAPE}") from None
    return name


def _port(digits: str) -> int | None:
    if not digits:
        return None
    try:
        return port_of(digits)
    except ValueError as error:
        raise ValueError(f"{error}; {ENCODING_ADVICE}") from None


def _options(query: str) -> dict[str, Any]:
    """Return the options that a query sets, by their names in `Tls` and `BrokerUrl`."""
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        known = _PARAMETERS.get(name)
        if known is None:
            raise ValueError(_unknown(name))
        option, read = known
        if option in options:
            raise ValueError(f"its query sets {name} twice, or under two names")
        try:
            options[option] = read(text)
        except ValueError as error:
            raise ValueError(f"the value of {name} in its query is not accepted: {error}") from None
    return options


def _unknown(name: str) -> str:
    """Return the text of an error. It does not contain the unknown name, which could be part of a password."""
    if name in _NOT_OURS:
        return f"its query has {name}, which is not accepted: {_NOT_OURS[name]}"
    similar = get_close_matches(name.lower(), _PARAMETERS, n=1)
    meant = f" (is {similar[0]} meant?)" if similar else ""
    return f"its query has a parameter that is none of: {', '.join(_PARAMETERS)}{meant}"


def _text(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _number(text: str) -> str:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("a number is expected")
    return text


def _is_true(text: str) -> bool:
    """Read a Boolean as the settings do."""
    if text.lower() in {"1", "true", "t", "yes", "y", "on"}:
        return True
    if text.lower() in {"0", "false", "f", "no", "n", "off"}:
        return False
    raise ValueError("true or false is expected")


def _is_false(text: str) -> bool:
    return not _is_true(text)


def _one_of(text: str, *, words: Mapping[str, Any]) -> Any:
    if text.lower() not in words:
        raise ValueError(f"one of {', '.join(words)} is expected")
    return words[text.lower()]


def _must_be_true(text: str) -> bool:
    if not _is_true(text):
        raise ValueError("a broker always shows a certificate; set verify=verify_none to accept any")
    return True


def _server_name(text: str) -> str:
    if text == "disable":
        raise ValueError("without a name no certificate could be verified; set verify=verify_none to accept any")
    return _text(text)


def _cadata(text: str) -> bytes:
    try:
        data = base64.b64decode(text)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise ValueError("base64 of a certificate is expected")
    return data


_MECHANISMS = {"plain": "plain", "external": "external"}
_VERIFICATIONS = {"verify_peer": True, "verify_none": False}

_PARAMETERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "cacertfile": ("cafile", _text),
    "cafile": ("cafile", _text),
    "capath": ("capath", _text),
    "cadata": ("cadata", _cadata),
    "certfile": ("certfile", _text),
    "keyfile": ("keyfile", _text),
    "verify": ("verify", partial(_one_of, words=_VERIFICATIONS)),
    "no_verify_ssl": ("verify", _is_false),
    "fail_if_no_peer_cert": ("fail_if_no_peer_cert", _must_be_true),
    "server_name_indication": ("server_name", _server_name),
    "auth_mechanism": ("mechanism", partial(_one_of, words=_MECHANISMS)),
    "auth": ("mechanism", partial(_one_of, words=_MECHANISMS)),
    "heartbeat": ("heartbeat", _number),
    "timeout": ("timeout", _number),
    "connection_timeout": ("connection_timeout", _number),
    "name": ("name", _text),
}
"""RabbitMQ's own parameters, and those of Python's clients: the option that each sets, and how its value is read."""

_IGNORED: Sequence[str] = ("heartbeat", "timeout", "connection_timeout", "name")
"""Parameters without effect: our own values apply, because they decide how fast a dead connection is noticed."""

_NOT_OURS: Mapping[str, str] = {
    "happy_eyeballs_delay": "addresses are tried 250 ms apart without it",
    "interleave": "addresses are tried 250 ms apart without it",
    "depth": "a chain of certificates may be as long as it needs",
    "password": "a key without a passphrase is expected in keyfile",
    "channel_max": "the broker's own limit holds",
    "frame_max": "the broker's own limit holds",
    "ssl": "amqps:// stands for TLS",
    "ssl_options": "amqps:// stands for TLS; its options are parameters of their own, such as cacertfile",
    "virtualhost": "the virtual host is the path: amqps://host/vhost",
    "vhost": "the virtual host is the path: amqps://host/vhost",
}
"""Parameters of other clients that people may expect, with the reason or the replacement."""
