"""HTTP proxy in front of a target: its URL, and its part in a connection. Pure; no error shows any part of the URL."""

from base64 import b64encode
from dataclasses import dataclass, field

from yarl import URL

from eventflow.network.host import check_http_url, host_and_port

DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that is spoken to in plain HTTP.

    Attributes:
        host: Name or address.
        port: Port.
        user: The user for Basic authentication; None if it asks for none.
        password: The user's password.
    """

    host: str
    port: int
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Host and port, which may be shown."""
        return host_and_port(self.host, self.port)

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization`; None without a user."""
        if self.user is None:
            return None
        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """The way to one origin through a proxy.

    Attributes:
        tunnel_to: Host and port to which the proxy opens a tunnel (`CONNECT`), for TLS. None if the target speaks plain
            HTTP: then the proxy reads the requests, which have the whole URL in their first line.
    """

    proxy: Proxy
    tunnel_to: str | None

    @property
    def reads_requests(self) -> bool:
        """Whether the proxy reads the requests, and not only passes on the bytes of a tunnel."""
        return self.tunnel_to is None


def parse_proxy_url(url: str) -> Proxy:
    """Parse the URL of a proxy.

    Raises:
        ValueError: It is not `http://host:port`, with or without `user:password@`.
    """
    expected = "http://host:port or http://user:password@host:port of an HTTP proxy is expected"
    try:
        check_http_url(url, takes_userinfo=True)
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from None
    parts = URL(url)
    if parts.scheme != "http" or parts.raw_path_qs not in {"", "/"} or parts.fragment:
        raise ValueError(f"{expected}, without a path; the connection to the proxy itself has no TLS")
    if parts.user is None and parts.password is not None:
        raise ValueError(f"{expected}: it has a password and no user")
    return Proxy(
        host=parts.raw_host or "", port=parts.port or DEFAULT_PORT, user=parts.user, password=parts.password or ""
    )


def way_to(url: URL, proxy: Proxy | None) -> Via | None:
    """Return the way to the origin of a URL; None if there is no proxy."""
    if proxy is None:
        return None
    return Via(proxy=proxy, tunnel_to=f"{url.host_subcomponent}:{url.port}" if url.scheme == "https" else None)
