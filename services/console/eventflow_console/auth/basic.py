"""Authentication by name and password, in HTTP's Basic scheme (RFC 7617)."""

import asyncio
import base64
import binascii
import math
import time
from collections.abc import Mapping
from typing import Final

import structlog
from aiohttp import web
from typing_extensions import override

from eventflow.users import PasswordHash
from eventflow_console.auth.peers import Networks, visitor_of
from eventflow_console.auth.throttle import Throttle
from eventflow_console.auth.user import Authenticator
from eventflow_console.auth.users import Users
from eventflow_console.auth.verifier import TooManyWaitError, Verifier
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.refusals import RequestRefusedError

WRONG_ANSWER_DELAY_S: Final = 1.0
CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": 'Basic realm="Event Flow", charset="UTF-8"'}

log = structlog.stdlib.get_logger()


class Basic(Authenticator):
    """Asks for a name and a password.

    A wrong password is answered late, and an address with many of them is refused for a minute. An unknown name takes
    as long as a wrong password, so that names cannot be guessed either.
    """

    def __init__(self, users: Users, *, trusted: Networks, metrics: ConsoleMetrics) -> None:
        self._users = users
        self._trusted = trusted
        self._metrics = metrics
        self._throttle = Throttle()
        self._verifier = Verifier()
        self._unknown = PasswordHash(salt=b"\0" * 16, digest=b"\0" * 32)

    @override
    async def user(self, request: web.Request) -> str:
        name, password = _credentials_in(request.headers.get("Authorization", ""))
        known = self._users.hash_of(name)
        if known is not None and self._verifier.remembers(password, known):
            return name  # before the bound, so that wrong passwords from a shared address lock out no known user
        place = visitor_of(request.remote, ",".join(request.headers.getall("X-Forwarded-For", [])), self._trusted)
        shown = None if known is None else name  # an unknown name may be a password in the wrong field
        self._begin_try(place, shown)
        if await self._is_right(password, known, place):
            self._throttle.take_back(place)
            return name
        self._note_refused("unknown_user" if known is None else "wrong_password", shown, place)
        await asyncio.sleep(WRONG_ANSWER_DELAY_S)
        raise RequestRefusedError(401, "The name or the password is wrong.", headers=CHALLENGE)

    def _begin_try(self, place: str, user: str | None) -> None:
        if (wait_s := self._throttle.begin(place, now_s=time.monotonic())) > 0:
            self._note_refused("too_many", user, place)
            raise RequestRefusedError(
                429,
                "Too many wrong passwords came from this address. Wait a minute.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )

    async def _is_right(self, password: str, known: PasswordHash | None, place: str) -> bool:
        try:
            return await self._verifier.is_right(password, known or self._unknown) and known is not None
        except TooManyWaitError:
            self._throttle.take_back(place)
            raise RequestRefusedError(503, "Too many passwords wait to be checked. Try again in a moment.") from None

    def _note_refused(self, reason: str, user: str | None, place: str) -> None:
        self._metrics.logins_refused.labels(reason=reason).inc()
        log.warning("login.refused", reason=reason, user=user, address=place)


def _credentials_in(header: str) -> tuple[str, str]:
    """Return name and password.

    Raises:
        RequestRefusedError: There are none.
    """
    scheme, _, encoded = header.partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise RequestRefusedError(401, "A name and a password are expected.", headers=CHALLENGE)
    return name, password
