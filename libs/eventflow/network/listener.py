"""Addresses that a service listens on, and how they are reached from the same machine."""

import errno
import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from eventflow.errors import AddressInUseError, AddressUnavailableError, EventFlowError, SettingsError
from eventflow.network.host import host_and_port

_ABOUT_PORT = frozenset({errno.EADDRINUSE, errno.EACCES})
_PASSING = frozenset({errno.EADDRNOTAVAIL, socket.EAI_AGAIN})
_ADVICE = {
    errno.EADDRINUSE: "`ss -ltnp` shows which process has it",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EACCES: "ports below 1024 take a right of their own; choose another port",
}


def listen(host: str, port: int, *, backlog: int, setting: str) -> socket.socket:
    """Return a listening socket; `::` accepts connections of IPv4 too, if the system supports it.

    Args:
        host: The address or name to listen on.
        port: The port.
        backlog: Number of connections that may wait to be accepted.
        setting: The name of the port's setting, for the error; with HOST in place of PORT it is that of `host`.

    Raises:
        AddressInUseError: Another process has the address, for example one that is about to end.
        AddressUnavailableError: The address does not exist yet, for example because its interface is not up.
        SettingsError: The address can never be bound.
    """
    try:
        family, address = _place_of(host, port)
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=backlog, dualstack_ipv6=is_dual)
    except OSError as error:
        set_to = f"{setting} = {port}" if error.errno in _ABOUT_PORT else f"{_host_setting(setting)} = {host!r}"
        raise _kind(error)(f"{set_to}: cannot listen on {host_and_port(host, port)}: {_reason(error)}") from error


def listen_on_first_free(host: str, ports: Iterable[int], *, backlog: int, setting: str) -> socket.socket:
    """Return a socket that listens on the first of the ports that no other process has.

    Raises:
        AddressUnavailableError: As in `listen`; all ports are in use, or the address does not exist.
        SettingsError: As in `listen`.
    """
    in_use = None
    for port in ports:
        try:
            return listen(host, port, backlog=backlog, setting=setting)
        except AddressInUseError as error:
            in_use = error
    raise in_use or ValueError("there must be a port")


def reachable_hosts(host: str) -> tuple[str, ...]:
    """Return the addresses at which a listener on `host` is reachable from the same machine, the likeliest first."""
    try:
        address = ip_address(host)
    except ValueError:
        return (host,)
    if not address.is_unspecified:
        return (host,)
    return ("127.0.0.1",) if address.version == 4 else ("::1", "127.0.0.1")


def _kind(error: OSError) -> type[EventFlowError]:
    if error.errno == errno.EADDRINUSE:
        return AddressInUseError
    return AddressUnavailableError if error.errno in _PASSING else SettingsError


def _host_setting(port_setting: str) -> str:
    return port_setting.replace("PORT", "HOST").replace("port", "host")  # the second for options, such as `--port`


def _reason(error: OSError) -> str:
    """Return the system's text for an error, without the address that Python appends, and advice if there is any."""
    number = error.errno or 0  # negative for errors of the resolver
    words = os.strerror(number) if number > 0 else str(error.strerror)
    advice = _ADVICE.get(number)
    return f"{words}; {advice}" if advice else words


def _place_of(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the family and the address to bind, with the zone of a link-local one. IPv4 is preferred for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, *_, address = next((info for info in found if info[0] == socket.AF_INET), found[0])
    return family, address
