"""Fetches small documents of senders over HTTPS, only from hosts that a sender's description names.

The address comes from a request, so it is not trusted: no redirect is followed, and time and size are limited.
"""

import asyncio
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from eventflow.errors import EventFlowError
from eventflow.network.http_body import whole_body
from eventflow.network.http_resolver import HttpResolver
from eventflow.network.resolver import Resolver
from eventflow.senders.hosts import is_pinned

TIMEOUT_S = 5.0
DOCUMENT_MAX_BYTES = 64 * 1024
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "event-flow"}


class FetchError(EventFlowError):
    """A document could not be fetched. The message has the reason, without the address, which may contain a secret."""


class Fetcher:
    """Fetches documents; each on a connection of its own, because they are few."""

    def __init__(self, *, resolver: AbstractResolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        """Use the system's resolver and trusted certificates, unless others are given."""
        self._resolver = HttpResolver(Resolver()) if resolver is None else resolver
        # True stands for the context that aiohttp has made at its import: another one takes 40 ms and a megabyte.
        self._tls = True if tls is None else tls

    async def fetch(self, address: str, *, hosts: Sequence[str]) -> bytes:
        """Return the document at an address.

        Args:
            address: As a sender has sent it.
            hosts: Patterns of the hosts where it may be; see `is_pinned`.

        Raises:
            FetchError: The address is not accepted, or there is no answer with status 200 within the limits.
        """
        if not is_pinned(address, hosts):
            raise FetchError("the address is not one of https at a known host")
        try:
            async with asyncio.timeout(TIMEOUT_S), self._session() as session:
                return await _document(session, address)
        except TimeoutError:
            raise FetchError(f"no whole answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(f"no answer ({type(error).__name__})") from None  # its text would contain the address

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, ssl=self._tls)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)


async def _document(session: aiohttp.ClientSession, address: str) -> bytes:
    async with session.get(URL(address, encoded=True), headers=_HEADERS, allow_redirects=False) as answer:
        if answer.status != 200:
            raise FetchError(f"the answer has status {answer.status}")
        document = await whole_body(answer, max_bytes=DOCUMENT_MAX_BYTES)
        if document is None:
            raise FetchError(f"the answer is longer than {DOCUMENT_MAX_BYTES} bytes")
        return document
