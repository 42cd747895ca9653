"""Ports on loopback for what the sandbox starts."""

import itertools
import os
import socket

LOOPBACK = "127.0.0.1"
# Below the ports that systems hand out to outgoing connections, which could otherwise take a port picked here
# before its server listens on it.
_FREE_PORTS = range(20_000, 32_000)
_STRIDE = 7_417  # the golden section of the range: processes with neighbouring ids begin far from each other
_numbers = itertools.count(os.getpid() * _STRIDE)


def usual_or_free_port(usual: int) -> int:
    """Return `usual` where nothing listens on it, else a free port."""
    return usual if is_free(usual) else free_port()


def free_port() -> int:
    """Return a port that nothing listens on.

    Each process takes one after the other from a place of its own: between picking a port and listening on it, a
    process that is started together with this one must not pick the same.
    """
    for number in itertools.islice(_numbers, len(_FREE_PORTS)):
        port = _FREE_PORTS[number % len(_FREE_PORTS)]
        if is_free(port):
            return port
    raise OSError(f"no free port on {LOOPBACK} among {_FREE_PORTS.start} to {_FREE_PORTS.stop - 1}")


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port now."""
    if accepts(LOOPBACK, port):  # some systems let a second server bind beside one on all interfaces
        return False
    with socket.socket() as probe:
        # As servers do: connections of an earlier server that linger in TIME_WAIT do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(host: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Say whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError:
        return False
    return True
