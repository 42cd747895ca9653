"""Target that asks for an access token: attempts wait for one, and repeat a request whose token was refused."""

import asyncio
from collections.abc import Callable
from typing import assert_never

from typing_extensions import override

from eventflow.message import Envelope
from eventflow.network.failure import NO_TOKEN
from eventflow.tasks import cancel_and_wait
from eventflow_processor.target.oauth2.grant import NoToken, Token
from eventflow_processor.target.oauth2.tokens import Tokens
from eventflow_processor.target.port import Attempt, Charge, OnResult, Target
from eventflow_processor.target.result import Errored, Failed, Result


class AuthorizedTarget(Target):
    """A target whose requests carry the token of `tokens`."""

    def __init__(self, target: Target, tokens: Tokens) -> None:
        """Send over `target`."""
        self.target = target
        self.tokens = tokens
        self.waiting: set[asyncio.Task[None]] = set()

    @override
    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> "AuthorizedAttempt":
        attempt = AuthorizedAttempt(self, envelope, charge, on_result)
        attempt.begin()
        return attempt

    async def close(self) -> None:
        """End all waits for a token."""
        await self.tokens.close()
        await cancel_and_wait(*self.waiting)


class AuthorizedAttempt(Attempt):
    """One attempt: at most one request, and another one with a new token if the target has answered 401."""

    __slots__ = ("_charge", "_envelope", "_is_repeated", "_on_result", "_request", "_target", "_task", "_token")

    def __init__(self, target: AuthorizedTarget, envelope: Envelope, charge: Charge, on_result: OnResult) -> None:
        """Wait for `begin`."""
        self._target = target
        self._envelope = envelope
        self._charge = charge
        self._on_result: OnResult | None = on_result
        self._token = ""
        self._is_repeated = False
        self._request: Attempt | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Send the request, as soon as there is a token."""
        if self._target.tokens.is_usable():
            self._send()
        else:
            self._wait_for_token(then=self._send)

    @override
    def abandon(self) -> None:
        self._on_result = None
        if self._task is not None:
            self._task.cancel()
        if self._request is not None:
            self._request.abandon()

    def _send(self) -> None:
        if self._on_result is None:  # it was abandoned while it waited
            return
        self._token = self._target.tokens.bearer.token
        self._request = self._target.target.start(self._envelope, charge=self._charge, on_result=self._judge)

    def _judge(self, result: Result) -> None:
        is_unauthorized = isinstance(result, Failed) and result.status == 401
        if not is_unauthorized or self._is_repeated or not self._target.tokens.refuse(self._token):
            self._end(result)
            return
        self._is_repeated = True
        if self._target.tokens.is_usable():  # another attempt has had it replaced already
            self._ask_to_repeat()
        else:
            self._wait_for_token(then=self._ask_to_repeat)

    def _ask_to_repeat(self) -> None:
        """Repeat the request when quota and gate allow one more."""
        try:
            self._charge(self._send)
        except Exception as error:  # noqa: BLE001 - an error of our own is a result, as the port promises
            self._end(Errored(error=error))

    def _wait_for_token(self, *, then: Callable[[], None]) -> None:
        self._task = asyncio.create_task(self._continue_with_token(then))
        self._target.waiting.add(self._task)
        self._task.add_done_callback(self._target.waiting.discard)

    async def _continue_with_token(self, then: Callable[[], None]) -> None:
        try:
            fetched = await self._target.tokens.renewed()
        except Exception as error:  # noqa: BLE001 - as in `_ask_to_repeat`
            self._end(Errored(error=error))
            return
        match fetched:
            case Token():
                then()
            case NoToken(text=text):
                # No event has a part in this, so it is an outage of the target: no attempt counts.
                self._end(Failed(reason="connection", detail=NO_TOKEN, text=text, reached=False, answered=False))
            case _:
                assert_never(fetched)

    def _end(self, result: Result) -> None:
        on_result, self._on_result = self._on_result, None
        if on_result is not None:
            on_result(result)
