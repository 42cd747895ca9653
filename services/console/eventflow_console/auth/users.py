"""The users in the file of the settings, read again after a change."""

import time
from pathlib import Path
from typing import Final

import structlog

from eventflow.errors import InvalidInputError
from eventflow.users import PasswordHash, read_users

LOOK_EVERY_S: Final = 1.0

log = structlog.stdlib.get_logger()


class Users:
    """The users. If the file cannot be read, the users of the last read remain: a typing error locks no one out."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            OSError: It cannot be read.
            InvalidInputError: It has a wrong line.
        """
        self._path = path
        self._version = self._version_now()
        self._users = read_users(path)
        self._looked_at_s = time.monotonic()

    def hash_of(self, name: str) -> PasswordHash | None:
        """Return the hash of a user's password; None if there is no such user."""
        if time.monotonic() - self._looked_at_s >= LOOK_EVERY_S:
            self._look()
        return self._users.get(name)

    def _look(self) -> None:
        self._looked_at_s = time.monotonic()
        try:
            if (version := self._version_now()) == self._version:
                return
            self._version = version
            self._users = read_users(self._path)
        except (OSError, InvalidInputError) as error:
            log.error("users.not_read", path=str(self._path), error=str(error))  # noqa: TRY400 - expected
        else:
            log.info("users.read", path=str(self._path), users=len(self._users))

    def _version_now(self) -> tuple[int, int, int]:
        state = self._path.stat()
        return state.st_mtime_ns, state.st_size, state.st_ino
