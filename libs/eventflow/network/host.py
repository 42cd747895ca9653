"""Checks of hosts and HTTP URLs in settings. Pure; no error shows any part of them.

Libraries encode a host only at the first connection, and then raise errors that are not network errors. So each host is
encoded at the start: after that, a host that was accepted can only fail as a network fails.
"""

import re
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

NAME_MAX_CHARACTERS = 253
PORT_MAX = 65535
INTERFACE_MAX_CHARACTERS = 15
"""Linux's IFNAMSIZ without the final zero byte. The zone of an IPv6 address is the name or number of an interface."""

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
"""One part of a name. Underscores are allowed, because names in Compose networks have them."""

_ZONE = re.compile(rf"[A-Za-z0-9_-]{{1,{INTERFACE_MAX_CHARACTERS}}}")
_LIKE_IPV4 = re.compile(r"[0-9.]+")
_URL = re.compile(
    r"(?i:https?)://"
    r"(?P<userinfo>[^/?#\\@]*@)?"
    r"(?:\[(?P<ipv6>[^/?#\\@\[\]]*)\]|(?P<name>[^/?#\\@\[\]:]*))"
    r"(?::(?P<port>[0-9]*))?"
    r"(?:[/?#].*)?"
)
_SHOWN = re.compile(
    r"[\"'\s]*((?:https?|ftp)://(?:\[[0-9A-Fa-f:.]*\]|[\w.-]*)(?::[0-9]*)?)(?=[/?#\"'\s]|$)(.*)", re.DOTALL
)


def check_host(host: str) -> None:
    """Check a name, an IPv4 address, or an IPv6 address without brackets.

    Raises:
        ValueError: It can be neither looked up nor connected to.
    """
    if ":" in host:
        _check_ipv6(host)
    elif _LIKE_IPV4.fullmatch(host):
        _check_ipv4(host)
    else:
        _check_name(host)


def check_http_url(url: str, *, takes_userinfo: bool = False) -> None:
    """Check a URL that an HTTP client will connect to.

    Raises:
        ValueError: It is incomplete, or its host or port is invalid.
    """
    parts = _URL.fullmatch(url)
    if parts is None or not url.isprintable() or " " in url or url[-1] in "\"'":
        raise ValueError(
            f"http://host/path or https://host/path is expected, with a port from 1 to {PORT_MAX} if there is one, and "
            "without spaces and quotes"
        )
    if parts["userinfo"] and not takes_userinfo:
        raise ValueError("no user or password is accepted in it")
    # An empty port is refused too. It is most likely a variable that was not set: http://host:$PORT/.
    if parts["port"] is not None:
        port_of(parts["port"])
    if parts["ipv6"] is not None:
        _check_ipv6(parts["ipv6"])
    else:
        check_host(parts["name"])
    try:
        URL(url)
    except ValueError:  # its text quotes the URL
        raise ValueError("it is not a URL with exactly one reading") from None


def host_and_port(host: str, port: int) -> str:
    """Return host and port as they stand in a URL: with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_of(digits: str) -> int:
    """Return the port that digits in a URL denote.

    Raises:
        ValueError: There are no digits, or the number is not a port.
    """
    if not 1 <= len(digits) <= len(str(PORT_MAX)) or not 1 <= int(digits) <= PORT_MAX:
        raise ValueError(f"a port from 1 to {PORT_MAX} is expected in it")
    return int(digits)


def shown_http_url(text: str) -> str | None:
    """Return scheme, host and port of a text that is meant to be an HTTP URL, for errors; None if they are unclear.

    The rest is not shown: paths and queries can contain tokens, and the part before an @ can be a password.
    """
    found = _SHOWN.match(text) if "@" not in text else None
    if found is None:
        return None
    return f"{found[1]}/..." if found[2].strip("/\"' ") else found[1]


def _check_ipv6(address: str) -> None:
    plain, percent, zone = address.partition("%")
    try:
        IPv6Address(plain)
    except ValueError:
        raise ValueError(
            "its host is not an IPv6 address; a name or an IPv4 address has no colon and no brackets"
        ) from None
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError("the zone of its IPv6 address is not the name of an interface")


def _check_ipv4(address: str) -> None:
    try:
        IPv4Address(address)
    except ValueError:
        raise ValueError("its host is not an IPv4 address: four numbers from 0 to 255 are expected") from None


def _check_name(name: str) -> None:
    if not name:
        raise ValueError("its host is empty")
    try:
        encoded = name if name.isascii() else URL.build(scheme="http", host=name).raw_host or ""
        name.encode("idna")  # as sockets do, which accept less
    except ValueError:
        encoded = ""
    if len(encoded) > NAME_MAX_CHARACTERS or not all(map(_LABEL.fullmatch, encoded.removesuffix(".").split("."))):
        raise ValueError(
            "its host is not a name that can be looked up: labels of 1 to 63 letters, digits, - and _ with dots "
            f"between are expected, at most {NAME_MAX_CHARACTERS} characters in all"
        )
