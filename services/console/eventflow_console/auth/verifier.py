"""Checks passwords off the event loop, a few at a time, and remembers those that were right for a short while."""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from functools import partial
from typing import Final

from eventflow.threads import on_daemon_thread
from eventflow.users import PasswordHash

CHECKS_MAX: Final = 2
"""Checks at the same time: each keeps a core busy for 0.3 s, and takes 32 MiB."""

WAITING_MAX: Final = 32
REMEMBERED_S: Final = 300.0
REMEMBERED_MAX: Final = 1000


class TooManyWaitError(Exception):
    """Too many passwords wait to be checked."""


class Verifier:
    """Compares passwords with their hashes."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right_until_s: OrderedDict[bytes, float] = OrderedDict()
        self._checking: dict[bytes, asyncio.Future[bool]] = {}
        self._places = asyncio.Semaphore(CHECKS_MAX)

    async def is_right(self, password: str, password_hash: PasswordHash) -> bool:
        """Whether a password is the right one. It is remembered if it is.

        Raises:
            TooManyWaitError: Too many wait.
        """
        entry = self._entry_of(password, password_hash)
        # A browser sends several requests at once, with the same password.
        if (check := self._checking.get(entry)) is None:
            if len(self._checking) >= WAITING_MAX:
                raise TooManyWaitError
            check = asyncio.ensure_future(self._check(password, password_hash))
            self._checking[entry] = check
            check.add_done_callback(partial(self._checked, entry))
        # A client that leaves ends only its own wait. The check keeps its place until its thread has ended; otherwise
        # clients that come and go could start any number of threads.
        return await asyncio.shield(check)

    def remembers(self, password: str, password_hash: PasswordHash) -> bool:
        """Whether a password was right a short while ago."""
        return self._right_until_s.get(self._entry_of(password, password_hash), 0.0) > time.monotonic()

    def _entry_of(self, password: str, password_hash: PasswordHash) -> bytes:
        """Hash a password with a key of this process, so that its memory shows no password.

        A user's new password in the file makes another entry, so that the old one is not remembered.
        """
        return hmac.digest(self._key, f"{password_hash}\0{password}".encode(errors="surrogatepass"), "sha256")

    async def _check(self, password: str, password_hash: PasswordHash) -> bool:
        async with self._places:
            return await on_daemon_thread(partial(password_hash.matches, password), name="password")

    def _checked(self, entry: bytes, check: "asyncio.Future[bool]") -> None:
        del self._checking[entry]
        if check.cancelled() or check.exception() is not None or not check.result():
            return
        self._right_until_s[entry] = time.monotonic() + REMEMBERED_S
        self._right_until_s.move_to_end(entry)
        if len(self._right_until_s) > REMEMBERED_MAX:
            self._right_until_s.popitem(last=False)
