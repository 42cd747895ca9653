"""Users of the console, and the hashes of their passwords: a file with one line `name:hash` for each.

A hash has the form of the Password Hashing Competition: `$scrypt$ln=15,r=8,p=3$salt$hash`.
"""

import base64
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from eventflow.errors import InvalidInputError

NAME_MAX_CHARACTERS: Final = 64
PASSWORD_MIN_CHARACTERS: Final = 8
PASSWORD_MAX_CHARACTERS: Final = 256
FILE_MAX_BYTES: Final = 1024 * 1024

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_MEMORY_MAX_BYTES: Final = 256 * 1024 * 1024
_LINE: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{2,64})\$([A-Za-z0-9+/]{2,128})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """A password, hashed by scrypt (RFC 7914).

    The default costs are those that OWASP recommends: 0.3 s and 32 MiB for each check.
    """

    salt: bytes
    digest: bytes
    cost_log2: int = 15
    block_size: int = 8
    parallelization: int = 3

    @classmethod
    def of(cls, password: str) -> Self:
        """Hash a password; this takes 0.3 s."""
        blank = cls(salt=secrets.token_bytes(_SALT_BYTES), digest=b"\0" * _HASH_BYTES)
        return cls(salt=blank.salt, digest=blank._digest_of(password))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a hash.

        Raises:
            ValueError: It has another form, or costs more than 256 MiB.
        """
        if (found := _LINE.fullmatch(text)) is None:
            raise ValueError("a hash of scrypt is expected")
        cost_log2, block_size, parallelization = map(int, found.group(1, 2, 3))
        if not (1 <= cost_log2 <= 20 and 1 <= parallelization <= 16 and block_size >= 1):
            raise ValueError("the costs of a hash are out of range")
        if 128 * block_size * 2**cost_log2 >= _MEMORY_MAX_BYTES:
            raise ValueError("a hash needs more than 256 MiB")
        return cls(
            salt=_decoded(found[4]),
            digest=_decoded(found[5]),
            cost_log2=cost_log2,
            block_size=block_size,
            parallelization=parallelization,
        )

    def __str__(self) -> str:
        costs = f"ln={self.cost_log2},r={self.block_size},p={self.parallelization}"
        return f"$scrypt${costs}${_encoded(self.salt)}${_encoded(self.digest)}"

    def matches(self, password: str) -> bool:
        """Whether it is the hash of a password; this takes 0.3 s with any result."""
        return hmac.compare_digest(self.digest, self._digest_of(password))

    def _digest_of(self, password: str) -> bytes:
        # The same password can arrive in several forms of Unicode, from one keyboard or another (RFC 8265).
        return hashlib.scrypt(
            unicodedata.normalize("NFC", password).encode(errors="surrogatepass"),
            salt=self.salt,
            n=2**self.cost_log2,
            r=self.block_size,
            p=self.parallelization,
            maxmem=_MEMORY_MAX_BYTES,
            dklen=len(self.digest),
        )


def check_name(name: str) -> str:
    """Return a name if it can be that of a user.

    Raises:
        InvalidInputError: It cannot.
    """
    if not is_name(name):
        raise InvalidInputError(
            f"the name of a user has 1 to {NAME_MAX_CHARACTERS} printable characters, without spaces at its ends, "
            "without a colon, and without # as the first"
        )
    return name


def is_name(name: str) -> bool:
    """Whether a text can be the name of a user."""
    is_short = 0 < len(name) <= NAME_MAX_CHARACTERS
    return is_short and name.isprintable() and name == name.strip() and ":" not in name and not name.startswith("#")


def check_password(password: str) -> str:
    """Return a password if it may be used.

    Raises:
        InvalidInputError: It is too short or too long.
    """
    if not PASSWORD_MIN_CHARACTERS <= len(password) <= PASSWORD_MAX_CHARACTERS:
        raise InvalidInputError(f"a password has {PASSWORD_MIN_CHARACTERS} to {PASSWORD_MAX_CHARACTERS} characters")
    return password


def read_users(path: Path) -> dict[str, PasswordHash]:
    """Return the users in a file, in their order.

    Raises:
        OSError: The file cannot be read.
        InvalidInputError: A line is no user; the message has its number, and no hash.
    """
    with path.open("rb") as file:
        content = file.read(FILE_MAX_BYTES + 1)
    if len(content) > FILE_MAX_BYTES:
        raise InvalidInputError(f"{path} has more than {FILE_MAX_BYTES} bytes")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8") from None
    users: dict[str, PasswordHash] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, text = line.partition(":")
        try:
            users[check_name(name)] = PasswordHash.parse(text.strip())
        except (ValueError, InvalidInputError):
            raise InvalidInputError(f"{path}, line {number}: `name:hash` is expected, as add-user writes it") from None
    return users


def put_user(path: Path, name: str, password_hash: PasswordHash) -> bool:
    """Write a user into a file, which is made if it does not exist; return whether the user is new.

    Raises:
        OSError: The file cannot be written.
        InvalidInputError: The file has a wrong line.
    """
    with _changing(path) as users:
        is_new = name not in users
        users[name] = password_hash
    return is_new


def remove_user(path: Path, name: str) -> bool:
    """Remove a user from a file; return whether there was one.

    Raises:
        OSError: The file cannot be read or written.
        InvalidInputError: The file has a wrong line.
    """
    with _changing(path) as users:
        found = users.pop(name, None)
    return found is not None


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, PasswordHash]]:
    """Yield the users in a file to be changed; write them at the end of the block, unless an error ends it."""
    with _locked(path.parent):
        users = read_users(path) if path.exists() else {}
        yield users
        _write(path, users)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, so that two operators do not undo each other's change."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, users: Mapping[str, PasswordHash]) -> None:
    """Replace a file in one step: a console that reads it meanwhile sees the old users or the new ones."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{user}:{password_hash}\n" for user, password_hash in users.items())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            _copy_owner(path, Path(name))
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _copy_owner(present: Path, new: Path) -> None:
    """Give a new file the rights of the present one, which the console's own user may have to read."""
    shutil.copymode(present, new)
    state = present.stat()
    with suppress(PermissionError):  # only root may give a file away
        os.chown(new, state.st_uid, state.st_gid)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
