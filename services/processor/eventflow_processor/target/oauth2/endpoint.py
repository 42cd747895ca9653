"""Token endpoint: one request for a token, bounded in time and size."""

import asyncio
import ssl
from collections.abc import Callable

import aiohttp
from yarl import URL

from eventflow.network.certificates import UnusableCertificateError
from eventflow.network.failure import BAD_ANSWER, CLOSED, CUT_OFF, detail_of, explained
from eventflow.network.http_body import whole_body
from eventflow.network.http_proxy import Proxy, way_to
from eventflow.network.http_resolver import HttpResolver
from eventflow.network.resolver import Resolver
from eventflow_processor.target.aiohttp_connection import proxy_arguments
from eventflow_processor.target.oauth2.grant import FETCH_MAX_S, Grant, NoToken, Token, token_in
from eventflow_processor.target.request import fixed_headers

ANSWER_MAX_BYTES = 64 * 1024


class TokenEndpoint:
    """Fetches tokens for one client. It is not trusted: every failure is a `NoToken`, whose text has no secret."""

    def __init__(self, grant: Grant, *, tls: Callable[[], ssl.SSLContext], proxy: Proxy | None) -> None:
        """Fetch with a new connection each time, since tokens are fetched seldom.

        Args:
            grant: The client.
            tls: Returns the context for the next connection.
            proxy: The proxy on the way to the endpoint.
        """
        self._grant = grant
        self._url = URL(grant.url)
        self._tls = tls
        self._resolver = Resolver()
        via = way_to(self._url, proxy)
        self._proxy = proxy_arguments(via)
        self._headers = fixed_headers({"Accept-Encoding": "identity", **grant.headers}, via)

    async def fetch(self) -> Token | NoToken:
        """Fetch a token."""
        try:
            async with asyncio.timeout(FETCH_MAX_S):
                fetched = await self._fetch()
        except TimeoutError:
            fetched = NoToken(text=f"no answer within {FETCH_MAX_S:g} s")
        except aiohttp.ClientHttpProxyError as error:
            fetched = NoToken(text=f"the proxy answers HTTP {error.status}")
        except UnusableCertificateError as error:
            fetched = NoToken(text=str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:  # with our words: its own can have the URL
            fetched = NoToken(text=explained(_detail_of(error)))
        if isinstance(fetched, NoToken):
            return NoToken(text=f"{self._url.origin()}: {fetched.text}")
        return fetched

    async def _fetch(self) -> Token | NoToken:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=HttpResolver(self._resolver), use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as client,
            client.post(
                self._url,
                data=self._grant.body,
                headers=self._headers,
                allow_redirects=False,
                ssl=self._tls() if self._url.scheme == "https" else True,
                **self._proxy,
            ) as answer,
        ):
            content = await whole_body(answer, max_bytes=ANSWER_MAX_BYTES)
            if content is None:
                return NoToken(text=f"its answer is longer than {ANSWER_MAX_BYTES} bytes")
            return token_in(answer.status, content)


def _detail_of(error: Exception) -> str:
    match error:
        case aiohttp.ClientResponseError():
            return BAD_ANSWER
        case aiohttp.ServerDisconnectedError():
            return CLOSED
        case aiohttp.ClientPayloadError():
            return CUT_OFF
        case _:
            return detail_of(error)
