"""Closing of the clients' connections before a stop, by the answers on them."""

from dataclasses import dataclass


@dataclass(slots=True)
class Closing:
    """Whether answers close their connections.

    A client that keeps its connection open does not notice a load balancer's new choice, because only new connections
    are balanced. If the collector simply closed the connection, the client's next request might be on its way. After an
    answer with `Connection: close` it sends none (RFC 9112, 9.6).
    """

    has_begun: bool = False
