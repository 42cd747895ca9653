"""RabbitMQ's management API: the list of queues, and policies. No event depends on it.

It is not trusted: its answers are limited in time and size, and every failure is a `ManagementError`.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr
from yarl import URL

from eventflow.errors import ManagementError
from eventflow.network.broker_tls import context_of
from eventflow.network.broker_url import Tls, parse_broker_url
from eventflow.network.http_body import whole_body
from eventflow.network.http_resolver import HttpResolver
from eventflow.network.resolver import Resolver
from eventflow.topology import PREFIX, PolicySpec

OUR_QUEUES = rf"^{PREFIX}[.]"
TIMEOUT_S = 5.0
"""Limit for all requests of one call together."""

ANSWER_MAX_BYTES = 256 * 1024
PAGE_QUEUES = 200
PAGES_MAX = 100
REASON_MAX_CHARACTERS = 200
NO_MANAGEMENT_API = "the server there is not RabbitMQ's management API"


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """A management API, used as one user for one virtual host.

    Attributes:
        url: `http://host:port`, without user and password.
        login: The user.
        password: The user's password.
        vhost: The virtual host.
        tls: TLS of the broker URL. Its authorities are trusted here too, beside those of the system.
    """

    url: str
    login: str
    password: str = field(repr=False)
    vhost: str
    tls: Tls | None = None
    _resolver: Resolver = field(default_factory=Resolver, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, management_url: SecretStr | None, broker_url: str) -> Self | None:
        """Return the API at the URL of the setting, which may contain user and password; None if it is not set.

        Args:
            management_url: The setting.
            broker_url: A broker URL with the virtual host, and with the user if `management_url` has none.
        """
        if management_url is None:
            return None
        url = URL(management_url.get_secret_value())
        return cls.at(str(url.with_user(None)), broker_url, login=url.user, password=url.password)

    @classmethod
    def at(cls, url: str, broker_url: str, *, login: str | None = None, password: str | None = None) -> Self:
        """Return the API at `url` for the virtual host of a broker URL, and for its user unless another is given."""
        broker = parse_broker_url(broker_url)
        return cls(
            url=url.rstrip("/"),
            login=login or broker.username,
            password=(password or "") if login else broker.password,
            vhost=broker.vhost,
            tls=broker.tls,
        )

    @property
    def _credentials(self) -> str:
        return base64.b64encode(f"{self.login}:{self.password}".encode()).decode()

    async def queues(self, *, columns: tuple[str, ...]) -> list[Mapping[str, Any]]:
        """List our queues with these columns of each. The values are not checked.

        Raises:
            ManagementError: It does not answer in time, refuses this user, or its answer has another form.
        """
        found: list[Mapping[str, Any]] = []
        async with _bounded():
            for page in range(1, PAGES_MAX + 1):
                query = f"page={page}&page_size={PAGE_QUEUES}&name={_quoted(OUR_QUEUES)}&use_regex=true"
                answer = await self._ask("GET", f"queues/{_quoted(self.vhost)}?{query}&columns={','.join(columns)}")
                if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
                    raise ManagementError(NO_MANAGEMENT_API)
                found += [queue for queue in answer["items"] if isinstance(queue, dict)]
                count = answer.get("page_count")
                if not isinstance(count, int) or page >= count:
                    return found
        raise ManagementError(f"it lists more than {PAGES_MAX * PAGE_QUEUES} queues")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Yield a client, whose requests use the same connections again."""
        connector = aiohttp.TCPConnector(resolver=HttpResolver(self._resolver), use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False) as client:
            yield client

    async def queue(
        self,
        client: aiohttp.ClientSession,
        name: str,
        *,
        columns: tuple[str, ...],
        timeout_s: float = TIMEOUT_S,
        is_live: bool = False,
    ) -> Mapping[str, Any]:
        """Return these columns of a queue. The values are not checked.

        Args:
            client: Of this API.
            name: Its name.
            columns: Names of the columns.
            timeout_s: Limit.
            is_live: Whether to ask for no statistics. With them, `online` and `members` can be 10 s old too.

        Raises:
            ManagementError: As for `queues`; also if there is no such queue.
        """
        path = f"queues/{_quoted(self.vhost)}/{_quoted(name)}?columns={','.join(columns)}"
        async with _bounded(timeout_s):
            answer = await self._request(client, "GET", f"{path}&disable_stats=true" if is_live else path)
        if not isinstance(answer, dict):
            raise ManagementError(NO_MANAGEMENT_API)
        return answer

    async def queue_names(self) -> list[str]:
        """List the names of our queues.

        Raises:
            ManagementError: As for `queues`.
        """
        queues = await self.queues(columns=("name",))
        return [name for queue in queues if isinstance(name := queue.get("name"), str)]

    async def set_policy(self, policy: PolicySpec) -> None:
        """Create a policy, or replace the one with the same name.

        Raises:
            ManagementError: As for `queues`; also if this user may not set policies.
        """
        async with _bounded():
            await self._ask("PUT", f"policies/{_quoted(self.vhost)}/{_quoted(policy.name)}", policy.body)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send one request on a connection of its own; as `_request`."""
        async with self.client() as client:
            return await self._request(client, method, path, body)

    async def _request(
        self, client: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        """Send one request; return the decoded answer, None if it has no content."""
        async with client.request(
            method,
            URL(f"{self.url}/api/{path}", encoded=True),
            json=body,
            headers={"Authorization": f"Basic {self._credentials}", "Accept-Encoding": "identity"},
            allow_redirects=False,
            ssl=True if self.tls is None else await asyncio.to_thread(_context_for, self.tls),
        ) as answer:
            if answer.status not in {200, 201, 204}:
                raise ManagementError(_refusal(answer.status, self.login))
            content = await whole_body(answer, max_bytes=ANSWER_MAX_BYTES)
            if content is None:
                raise ManagementError(f"its answer is longer than {ANSWER_MAX_BYTES} bytes")
            return _parsed(content)


def _context_for(tls: Tls) -> ssl.SSLContext:
    """Make a context that trusts the system's authorities too: a proxy in front may have a public certificate."""
    context = context_of(tls)
    context.load_default_certs()
    return context


@asynccontextmanager
async def _bounded(timeout_s: float = TIMEOUT_S) -> AsyncIterator[None]:
    """Limit a call in time, and translate every exception into a `ManagementError`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except ManagementError:
        raise
    except TimeoutError as error:
        raise ManagementError(f"no answer within {timeout_s:g} s") from error
    except Exception as error:  # on malformed answers, parsers raise errors that their libraries do not document
        raise ManagementError(_in_one_line(error)) from error


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError) as error:
        raise ManagementError("its answer is not JSON") from error


def _in_one_line(error: Exception) -> str:
    text = " ".join((str(error) or type(error).__name__).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:REASON_MAX_CHARACTERS]


def _refusal(status: int, login: str) -> str:
    if status in {401, 403}:
        rights = "reading takes the tag management, setting policies policymaker"
        return f"it does not let user {login!r} do that (HTTP {status}): {rights}"
    return f"it answers HTTP {status}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
