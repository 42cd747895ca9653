"""Hosts, and URLs of HTTP, checked as they will be looked up and connected to. Pure; no error shows any part of one.

Libraries encode a host only at the first connection, and then raise errors that are not errors of the network. So every
host of the settings is encoded at the start: one that is accepted here can fail later only as a network fails.
"""

import re
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

NAME_MAX_CHARACTERS = 253
PORT_MAX = 65535
INTERFACE_MAX_CHARACTERS = 15
"""Linux's IFNAMSIZ without its end: the zone of an IPv6 address is an interface's name or number."""

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
"""With underscores, which names in Compose networks have."""

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
        ValueError: It is none that can be looked up or connected to.
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
        ValueError: It is not complete, or its host or port cannot be.
    """
    parts = _URL.fullmatch(url)
    if parts is None or not url.isprintable() or " " in url or url[-1] in "\"'":
        raise ValueError(
            f"http://host/path or https://host/path is expected, with a port from 1 to {PORT_MAX} if there is one, and "
            "without spaces and quotes"
        )
    if parts["userinfo"] and not takes_userinfo:
        raise ValueError("no user or password is accepted in it")
    # An empty one is most likely a variable that was not set: http://host:$PORT/.
    if parts["port"] is not None:
        port_of(parts["port"])
    if parts["ipv6"] is not None:
        _check_ipv6(parts["ipv6"])
    else:
        check_host(parts["name"])
    try:
        URL(url)
    except ValueError:  # it quotes the URL
        raise ValueError("it is no URL that can be read in one way") from None


def port_of(digits: str) -> int:
    """Return the port that digits in a URL stand for.

    Raises:
        ValueError: There is none, or it cannot be one.
    """
    if not 1 <= len(digits) <= len(str(PORT_MAX)) or not 1 <= int(digits) <= PORT_MAX:
        raise ValueError(f"a port from 1 to {PORT_MAX} is expected in it")
    return int(digits)


def shown_http_url(text: str) -> str | None:
    """Return scheme, host and port of a text that is meant as a URL of HTTP, for errors; None if they are not clear.

    Tokens stand in paths and queries, and what stands before an @ may be a password.
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
            "its host is no IPv6 address; a name or an IPv4 address has no colon and no brackets"
        ) from None
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError("the zone of its IPv6 address is no name of an interface")


def _check_ipv4(address: str) -> None:
    try:
        IPv4Address(address)
    except ValueError:
        raise ValueError("its host is no IPv4 address: four numbers from 0 to 255 are expected") from None


def _check_name(name: str) -> None:
    if not name:
        raise ValueError("its host is empty")
    try:
        encoded = name if name.isascii() else URL.build(scheme="http", host=name).raw_host or ""
        name.encode("idna")  # as sockets do it, which take less
    except ValueError:
        encoded = ""
    if len(encoded) > NAME_MAX_CHARACTERS or not all(map(_LABEL.fullmatch, encoded.removesuffix(".").split("."))):
        raise ValueError(
            "its host is no name that could be looked up: labels of 1 to 63 letters, digits, - and _ with dots between "
            f"are expected, at most {NAME_MAX_CHARACTERS} characters in all"
        )
