"""The operator by name and password, in HTTP's Basic scheme (RFC 7617)."""

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
from eventflow_console.auth.verifier import BusyError, Verifier
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.refusals import RequestRefusedError

WRONG_ANSWER_DELAY_S: Final = 1.0
CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": 'Basic realm="Event Flow", charset="UTF-8"'}

_NEITHER: Final = "A name and a password are expected."

log = structlog.stdlib.get_logger()


class Basic(Authenticator):
    """Asks for a name and a password.

    A wrong password is answered late, and a place with many of them is refused for a minute. An unknown name takes as
    long as a wrong password, so that names cannot be guessed either.
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
        # Of several lines, only the last one is certainly the proxy's.
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", []))
        place = visitor_of(request.remote, forwarded_for, self._trusted)
        known = self._users.hash_of(name)
        if known is not None and self._verifier.remembers(password, known):
            return name  # before the bound, so that a guessing neighbour behind the same address locks no one out
        if (wait_s := self._throttle.begin(place, now_s=time.monotonic())) > 0:
            self._count("too_many", name if known else None, place)
            raise RequestRefusedError(
                429,
                "Too many wrong passwords came from this address. Wait a minute.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        try:
            is_right = await self._verifier.is_right(password, known or self._unknown) and known is not None
        except BusyError:
            self._throttle.take_back(place)
            raise RequestRefusedError(503, "Too many passwords wait to be checked. Try again in a moment.") from None
        if is_right:
            self._throttle.take_back(place)
            return name
        self._count("wrong_password" if known else "unknown_user", name if known else None, place)
        await asyncio.sleep(WRONG_ANSWER_DELAY_S)
        raise RequestRefusedError(401, "The name or the password is wrong.", headers=CHALLENGE)

    def _count(self, reason: str, name: str | None, place: str) -> None:
        self._metrics.logins_refused.labels(reason=reason).inc()
        # An unknown name is not logged: people type a password into the wrong field.
        log.warning("login.refused", reason=reason, user=name, address=place)


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
        raise RequestRefusedError(401, _NEITHER, headers=CHALLENGE)
    return name, password
