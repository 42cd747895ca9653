"""URLs of brokers, checked before a library reads them. Pure; no error shows any part of one.

Libraries take the rest of a password with `#`, `/` or `?` in it for a port, a virtual host or a query, show it in their
errors, or connect to another host. So a URL is taken only if it can be read in one way.
"""

import base64
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from urllib.parse import parse_qsl, quote, unquote

SHAPE = "amqp://user:password@host:port/vhost or amqps://... is expected"
ENCODING_ADVICE = (
    "percent-encode every character of its user, password and virtual host that is not an ASCII letter or digit "
    "(# is %23, / is %2F), "
    "or set EVENTFLOW_BROKER__USERNAME and EVENTFLOW_BROKER__PASSWORD instead"
)

_URL = re.compile(
    r"(?i:amqps?)://"
    r"(?:(?P<userinfo>[^/?#\[\]@\\\s]*)@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<vhost>/[^?#\[\]@\s]*)?"
    r"(?:\?(?P<query>[^#@\s]*))?"
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def check_broker_url(url: str) -> None:
    """Check that a URL can be read in one way, and that the libraries will take it.

    Raises:
        ValueError: It cannot. The message states the expected form and no part of the URL.
    """
    parts = _URL.fullmatch(url)
    if parts is None or not (url.isascii() and url.isprintable()):
        raise ValueError(f"{SHAPE}; {ENCODING_ADVICE}")
    for part in (parts["userinfo"], parts["vhost"], parts["query"]):
        _check_escapes(part or "")
    if parts["userinfo"] is not None:
        _check_userinfo(parts["userinfo"])
    _check_host(parts["host"])
    if parts["port"] and not 1 <= int(parts["port"]) <= 65535:
        raise ValueError(f"a port from 1 to 65535 is expected in it; {ENCODING_ADVICE}")
    _check_query(parts["query"] or "")


def has_userinfo(url: str) -> bool:
    """Whether a checked URL names a user."""
    return "@" in url


def with_credentials(url: str, *, username: str, password: str) -> str:
    """Return a checked URL that names no user with the user and password, percent-encoded."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(username, safe='')}:{quote(password, safe='')}@{rest}"


def _check_escapes(text: str) -> None:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"a % in it is followed by two hexadecimal digits; {ENCODING_ADVICE}")
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"what is percent-encoded in it is not UTF-8; {ENCODING_ADVICE}") from None


def _check_userinfo(userinfo: str) -> None:
    """Refuse an empty user or password, in place of which the library takes `guest`."""
    user, colon, password = userinfo.partition(":")
    if not user or (colon and not password):
        raise ValueError(f"the user or the password in it is empty; {SHAPE}")


def _check_host(host: str) -> None:
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        else:
            host.encode(
                "idna"
            )  # as it is before it is looked up, which fails with an error that is none of the network
    except ValueError:
        raise ValueError(f"its host is no name that could be looked up; {SHAPE}") from None


def _check_query(query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        is_accepted = _PARAMETERS.get(name)
        if is_accepted is None:
            raise ValueError(f"its query has a parameter that is none of: {', '.join(_PARAMETERS)}")
        if not is_accepted(value):
            raise ValueError(f"the value of {name} in its query is not accepted")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text))
    except ValueError:
        return False


_PARAMETERS: Mapping[str, Callable[[str], bool]] = {
    "auth": lambda text: text.lower() in {"plain", "external"},
    "cadata": _is_base64,
    "cafile": bool,
    "capath": bool,
    "certfile": bool,
    "keyfile": bool,
    "no_verify_ssl": lambda text: text in {"0", "1"},  # the library takes any other value for a 1
    "heartbeat": str.isdecimal,
    "timeout": str.isdecimal,
    "name": bool,
}
