"""The access token of a target: fetched when it is first needed, kept, and replaced before it ends."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import structlog

from eventflow.tasks import cancel_and_wait
from eventflow_processor.target.oauth2.grant import NoToken, Token
from eventflow_processor.target.request import Bearer

RENEWED_BEFORE_S = 60.0
RENEWED_BEFORE = 0.2
"""A token is replaced so many seconds before its end, or in this last part of its lifetime if that is shorter."""

FAILED_PAUSE_S = 1.0
"""Time after a failed fetch for which no other is made: the attempts meanwhile have the same result."""

REFUSED_PAUSE_S = 60.0
"""Time after a refused token for which no other is replaced: if the target refuses the new one too, tokens are not the
cause."""

Fetch = Callable[[], Awaitable[Token | NoToken]]

log = structlog.stdlib.get_logger()


class Tokens:
    """The token of one target. At most one fetch is in progress, and all attempts share it.

    Attributes:
        bearer: The token that requests carry.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        flow: str,
        bearer: Bearer,
        hide: Callable[[str], None],
        on_awaited: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a token.

        Args:
            fetch: Fetches a token. It ends in time.
            flow: Name of the flow, for the log.
            bearer: Set to each new token.
            hide: Called with each new token, which no answer in a log or a dead letter may show.
            on_awaited: Called with True when there is no usable token and one is fetched, and with False when the fetch
                has ended.
            clock: Seconds, monotonic.
        """
        self.bearer = bearer
        self._fetch = fetch
        self._hide = hide
        self._on_awaited = on_awaited
        self._clock = clock
        self._log = log.bind(flow=flow)
        self._fetching: asyncio.Task[Token | NoToken] | None = None
        self._renew_at_s = self._ends_at_s = -math.inf
        self._token: Token | None = None
        self._failure = NoToken(text="none was fetched yet")
        self._failed_until_s = self._refused_until_s = -math.inf

    def is_usable(self) -> bool:
        """Whether the present token can be sent. If it cannot, or ends soon, the next one is fetched meanwhile."""
        now_s = self._clock()
        is_usable = now_s < self._ends_at_s
        if now_s >= self._renew_at_s and now_s >= self._failed_until_s:
            self._begin()
        if not is_usable and self._fetching is not None:
            self._on_awaited(True)
        return is_usable

    async def renewed(self) -> Token | NoToken:
        """Wait for a token that is usable. It may be cancelled at any time."""
        now_s = self._clock()
        if self._token is not None and now_s < self._ends_at_s:
            return self._token  # fetched after the caller had asked `is_usable`, and before it waits here
        if now_s < self._failed_until_s:
            return self._failure
        fetching = self._begin()
        # Not awaited directly: a caller that is cancelled would cancel the fetch of all others.
        await asyncio.wait({fetching})
        return fetching.result()

    def refuse(self, token: str) -> bool:
        """Note that the target has answered 401 to a token; return whether there is, or will be, another one to try."""
        now_s = self._clock()
        if token != self.bearer.token or now_s >= self._ends_at_s:
            return True  # it has been replaced, or another attempt has noted this already
        if now_s < self._refused_until_s:
            return False
        self._renew_at_s = self._ends_at_s = -math.inf
        self._refused_until_s = now_s + REFUSED_PAUSE_S
        self._log.warning("token.refused", action="fetches another one")
        return True

    async def close(self) -> None:
        """End the fetch in progress."""
        if self._fetching is not None:
            await cancel_and_wait(self._fetching)

    def _begin(self) -> "asyncio.Task[Token | NoToken]":
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_one())
        return self._fetching

    async def _fetch_one(self) -> Token | NoToken:
        began_s = self._clock()
        try:
            fetched = await self._fetch()
        finally:
            self._fetching = None
            self._on_awaited(False)
        if isinstance(fetched, NoToken):
            self._failure, self._failed_until_s = fetched, self._clock() + FAILED_PAUSE_S
            self._log.warning("token.unavailable", cause=fetched.text)
        else:
            self._take(fetched, began_s)
        return fetched

    def _take(self, token: Token, began_s: float) -> None:
        self._hide(token.value)
        self._token, self.bearer.token = token, token.value
        self._ends_at_s = began_s + token.lifetime_s
        self._renew_at_s = self._ends_at_s - min(RENEWED_BEFORE_S, RENEWED_BEFORE * token.lifetime_s)
        self._log.info("token.fetched", lifetime_s=token.lifetime_s)
