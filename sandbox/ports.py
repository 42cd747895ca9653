"""Free ports on loopback."""

import itertools
import os
import socket

LOOPBACK = "127.0.0.1"
_ACCEPTS_WITHIN_S = 1.0
# Below the range that systems use for outgoing connections: such a connection could take a chosen port before the
# server listens on it.
_FREE_PORTS = range(20_000, 32_000)
_STRIDE = 7_417  # the golden section of the range, so that processes with neighbouring ids start far apart
_numbers = itertools.count(os.getpid() * _STRIDE)


def usual_or_free_port(usual: int) -> int:
    """Return `usual` if it is free, otherwise another free port."""
    return usual if is_free(usual) else free_port()


def free_port() -> int:
    """Return a port that nothing listens on.

    Each process walks through the range from its own start: a process that starts at the same time must not choose the
    same port before a server listens on it.
    """
    for number in itertools.islice(_numbers, len(_FREE_PORTS)):
        port = _FREE_PORTS[number % len(_FREE_PORTS)]
        if is_free(port):
            return port
    raise OSError(f"no free port on {LOOPBACK} among {_FREE_PORTS.start} to {_FREE_PORTS.stop - 1}")


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    if accepts(LOOPBACK, port):  # some systems let a second server bind although another listens on all interfaces
        return False
    with socket.socket() as probe:
        # As servers do: connections of an earlier server in TIME_WAIT must not make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=_ACCEPTS_WITHIN_S).close()
    except OSError:
        return False
    return True
