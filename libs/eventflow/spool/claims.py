"""The files in a spool's directory, each with one owner at most.

A file belongs to the process that holds the lock on the lock file beside it. The kernel releases the lock when that
process ends in any way, so a file that can be locked is abandoned. Every call may hang as long as its file system does,
so a service makes none of them on its event loop.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from eventflow.spool.store import SpoolError, SpoolUnavailableError, sync_directory

SUFFIX = ".sqlite3"
JOURNAL = "-wal"
COMPANIONS = (JOURNAL, "-shm")
SET_ASIDE = ".corrupt-"

LOCK_TRIES = 16
"""Attempts to lock a lock file that is removed between its opening and its locking. Another process removes it once.
On a file system with a new inode number at every `stat`, it would seem removed every time."""

FILES_MAX = 1000
"""Number of files that are tried in search of a free one, far above the number of workers."""

log = structlog.stdlib.get_logger()


class SpoolInUseError(SpoolError):
    """Another process uses a file of the spool."""


class Claim:
    """The right to use one file, until it is released or this process ends."""

    def __init__(self, path: Path, lock: int) -> None:
        """Keep the file's path and the descriptor that holds its lock."""
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Release the file, so that another process can claim it."""
        os.close(self._lock)

    def remove(self) -> None:
        """Delete the file, its companions, and last its lock file. If that fails, the next claim finds the rest."""
        try:
            for path in (*_with_companions(self.path), _lock_of(self.path)):
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("spool.file_not_removed", file=self.path.name, reason=error.strerror)
        finally:
            self.release()

    def set_aside(self) -> Path:
        """Rename the file and its companions, so that a new file can take its place; return the new name."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path.with_name(f"{self.path.name}{SET_ASIDE}{stamp}")
        for old, new in zip(_with_companions(self.path), _with_companions(aside), strict=True):
            with suppress(FileNotFoundError):
                old.rename(new)
        sync_directory(self.path.parent)
        return aside


class SpoolFiles:
    """The files in one directory, which several processes may share."""

    def __init__(self, directory: Path) -> None:
        """Take the directory, which must exist before the first call."""
        self.directory = directory
        self._skipped: set[Path] = set()

    def try_locks(self) -> None:
        """Lock a file of our own twice; the second lock must fail.

        Some network file systems refuse every lock, so that no file would ever be free. Some grant every lock, so that
        two processes would own one file.

        Raises:
            OSError: The directory takes no file or no lock.
        """
        probe = self.directory / f".probe-{secrets.token_hex(8)}.lock"
        first = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            try:
                second = os.open(probe, os.O_RDWR)
            finally:
                probe.unlink()  # before the locks, which may hang, so that no probe is left behind
            try:
                if not _is_granted(first):
                    raise OSError(errno.EOPNOTSUPP, "its file system refuses every lock (flock)")
                if _is_granted(second):
                    raise OSError(errno.EOPNOTSUPP, "its file system grants a lock (flock) twice")
            finally:
                os.close(second)
        finally:
            os.close(first)

    def paths(self) -> list[Path]:
        """List the files.

        Raises:
            SpoolUnavailableError: The directory cannot be read.
        """
        return self._matching(f"*{SUFFIX}")

    def set_aside(self) -> list[Path]:
        """List the corrupted files that were set aside, without their journals.

        Raises:
            SpoolUnavailableError: The directory cannot be read.
        """
        return self._matching(f"*{SUFFIX}{SET_ASIDE}*Z")

    def claim_free(self) -> Claim:
        """Claim the first file that is free, or a new one; so a process that starts again gets its own file.

        Raises:
            SpoolUnavailableError: The directory takes no lock file.
        """
        for number in range(FILES_MAX):
            if (claim := self._claim_or_skip(self.directory / f"spool-{number}{SUFFIX}")) is not None:
                return claim
        raise SpoolUnavailableError(
            f"each of {FILES_MAX} files in {self.directory} is in use or belongs to another user"
        )

    def claim_abandoned(self) -> Iterator[Claim]:
        """Claim every file that is not claimed: its process has died, or is no longer started.

        Raises:
            SpoolUnavailableError: The directory cannot be read, or takes no lock file. Claims yielded before stay ours.
        """
        for path in self.paths():
            if (claim := self._claim_or_skip(path)) is None:
                continue
            try:
                is_there = path.exists()
            except OSError as error:
                claim.release()
                raise SpoolUnavailableError(f"cannot read the state of {path}: {error.strerror}") from error
            if is_there:
                yield claim
            else:  # its owner has removed it since we listed it
                claim.remove()

    def claim_all(self) -> list[Claim]:
        """Claim every file, or none: for a caller that must be the only user of the directory.

        Raises:
            SpoolInUseError: Another process has one of them.
            SpoolUnavailableError: One belongs to another user, or the directory takes no lock file.
        """
        claims: list[Claim] = []
        with ExitStack() as undo:
            for path in self.paths():
                claims.append(self._claim_or_raise(path))
                undo.callback(claims[-1].release)
            undo.pop_all()
        return claims

    def _matching(self, pattern: str) -> list[Path]:
        try:
            return sorted(self.directory.glob(pattern))
        except OSError as error:
            raise SpoolUnavailableError(f"cannot read {self.directory}: {error.strerror}") from error

    def _claim_or_skip(self, path: Path) -> Claim | None:
        """Claim a file; None if another process has it or it belongs to another user."""
        match self._claim(path):
            case Claim() as claim:
                return claim
            case "theirs":
                return None
            case "foreign":
                self._note_skipped(path)
                return None

    def _claim_or_raise(self, path: Path) -> Claim:
        match self._claim(path):
            case Claim() as claim:
                return claim
            case "theirs":
                raise SpoolInUseError(f"a running collector, or another command, uses {path}")
            case "foreign":
                raise SpoolUnavailableError(f"{path}, or its lock, belongs to another user")

    def _claim(self, path: Path) -> Claim | Literal["theirs", "foreign"]:
        """Claim a file, unless another process has it or it belongs to another user."""
        try:
            for _ in range(LOCK_TRIES):
                lock = _open_lock(path)
                match _locked(lock, _lock_of(path)):
                    case "ours" if _is_foreign(path):
                        os.close(lock)
                        return "foreign"
                    case "ours":
                        return Claim(path, lock)
                    case "theirs":
                        return "theirs"
                    case "removed":  # by its owner, between our opening and our locking
                        continue
        except PermissionError as error:
            if _is_there(_lock_of(path)):
                return "foreign"
            raise SpoolUnavailableError(f"cannot lock {path}: {error.strerror}") from error
        except OSError as error:
            raise SpoolUnavailableError(f"cannot lock {path}: {error.strerror}") from error
        raise SpoolUnavailableError(f"cannot lock {path}: its lock file is replaced at every look")

    def _note_skipped(self, path: Path) -> None:
        """Log a file of another user. Its events stay in it until that user's collector sends them."""
        if path not in self._skipped:  # logged once, not at every search
            self._skipped.add(path)
            log.warning("spool.file_skipped", file=str(path), reason="it, or its lock, belongs to another user")


def _open_lock(path: Path) -> int:
    """Open the lock file of a file; create it if there is none."""
    try:
        lock = os.open(_lock_of(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return os.open(_lock_of(path), os.O_CREAT | os.O_RDWR, 0o600)  # its owner may have removed it meanwhile
    if os.geteuid() == 0:
        # Root may send the events of another user's spool. That user's collector must be able to lock the file later.
        with suppress(OSError):
            owner = path.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
    return lock


def _locked(lock: int, path: Path) -> Literal["ours", "theirs", "removed"]:
    """Lock an open lock file; close it unless it is ours now."""
    verdict: Literal["ours", "theirs", "removed"] = "removed"
    try:
        if not _is_granted(lock):
            verdict = "theirs"
        elif _is_same_file(lock, path):
            verdict = "ours"
    finally:  # also if locking fails: that happens at every search, and would use up all descriptors
        if verdict != "ours":
            os.close(lock)
    return verdict


def _is_granted(lock: int) -> bool:
    """Try to lock an open file; False if another process holds the lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_foreign(path: Path) -> bool:
    return os.access(path, os.F_OK) and not os.access(path, os.R_OK | os.W_OK)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _with_companions(path: Path) -> tuple[Path, ...]:
    return (path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS))
