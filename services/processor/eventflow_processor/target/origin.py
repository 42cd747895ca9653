"""Origin of a target: scheme, host and port, and the knowledge about them that outlives one request."""

import math
import time
from contextlib import suppress
from dataclasses import replace

from yarl import URL

from eventflow.network.failure import CLOSED, PLAIN_ON_TLS_PORT, RESET
from eventflow.network.http_proxy import Proxy, way_to
from eventflow.network.probe import speaks_tls
from eventflow.network.resolver import Resolver
from eventflow_processor.target.exchange import Exchange
from eventflow_processor.target.result import Failed

ASK_FOR_TLS_EVERY_S = 60.0
ASK_FOR_TLS_S = 1.0


class Origin:
    """Scheme, host and port of a URL.

    Attributes:
        is_plain: Whether connections to it have no TLS.
        via: The proxy before it; None if there is none.
        dialed: Host and port to which connections are made: its own, or those of the proxy.
    """

    def __init__(self, url: URL, resolver: Resolver, *, proxy: Proxy | None = None) -> None:
        """Look the host up with `resolver`, when a connection needs its addresses; or the proxy's, if there is one."""
        self.host, self.port = url.raw_host or "", url.port or 0
        self.is_plain = url.scheme == "http"
        self.via = way_to(url, proxy)
        self.dialed = (self.host, self.port) if proxy is None else (proxy.host, proxy.port)
        self.resolver = resolver
        self._speaks_tls = False
        self._ask_for_tls_at_s = -math.inf

    def doubt_address_after(self, exchange: Exchange) -> None:
        """Look the name up again if connecting, or TLS, failed at its addresses: the target may have moved."""
        if not (exchange.is_sent or exchange.is_resolving):
            self.resolver.doubt(*self.dialed)

    def may_expect_tls(self, failed: Failed, exchange: Exchange) -> bool:
        """Whether a plain connection was closed without an answer.

        Most TLS servers close a plain connection like this, as an overloaded server does. Behind a proxy
        this cannot be tested.
        """
        return (
            self.is_plain
            and self.via is None
            and exchange.is_sent
            and not exchange.is_answered
            and failed.detail in {CLOSED, RESET}
        )

    async def looked_into(self, failed: Failed) -> Failed:
        """Test, once a minute, whether a port that may expect TLS speaks it, and return the failure with its cause."""
        now_s = time.monotonic()
        if now_s >= self._ask_for_tls_at_s:
            self._ask_for_tls_at_s = now_s + ASK_FOR_TLS_EVERY_S
            with suppress(OSError):
                addresses = await self.resolver.addresses_of(self.host, self.port)
                self._speaks_tls = await speaks_tls(addresses, within_s=ASK_FOR_TLS_S)
        return replace(failed, detail=PLAIN_ON_TLS_PORT, reached=False) if self._speaks_tls else failed
