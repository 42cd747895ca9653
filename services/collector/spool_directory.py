"""The spool's directory: whose file is whose, and how much room there is.

A file belongs to the process that holds the lock on the lock file beside it. The kernel lets go of the lock when that
process ends, however it ends, so what can be locked is abandoned.
"""

import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from collector.spool_store import SpoolUnavailableError, sync_directory
from eventflow.errors import SettingsError

SUFFIX = ".sqlite3"
JOURNAL = "-wal"
COMPANIONS = (JOURNAL, "-shm")
SET_ASIDE = ".corrupt-"

RESERVE_MAX_BYTES = 64 * 1024 * 1024
RESERVE_SHARE = 0.05
"""Of the file system is left free, at most RESERVE_MAX_BYTES: deleting rows takes room too, and so do others."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system, in bytes."""

    size_bytes: int
    free_bytes: int


def room_bytes(*, used_bytes: int, journal_bytes: int, max_bytes: int, disk: Disk) -> int:
    """Return how much more may be kept, by the spool's bound and the disk's; not below 0.

    Whatever is kept takes room twice: in the journal, and, once that is copied over, in the file.
    """
    reserve_bytes = min(RESERVE_MAX_BYTES, int(disk.size_bytes * RESERVE_SHARE))
    return max(0, min(max_bytes - used_bytes, (disk.free_bytes - reserve_bytes - journal_bytes) // 2))


class Claim:
    """The right to use one file, until it is released or this process ends."""

    def __init__(self, path: Path, lock: int) -> None:
        """Keep the file's path and the descriptor that holds its lock."""
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Leave the file to whoever comes next."""
        os.close(self._lock)

    def remove(self) -> None:
        """Delete the file, its companions, and at last the lock; what cannot be deleted is left to the next claim."""
        try:
            for path in (*_with_companions(self.path), _lock_of(self.path)):
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("spool.file_not_removed", file=self.path.name, reason=error.strerror)
        finally:
            self.release()

    def set_aside(self) -> Path:
        """Give the file and its companions another name, so that a new one can take its place; return that name."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path.with_name(f"{self.path.name}{SET_ASIDE}{stamp}")
        for old, new in zip(_with_companions(self.path), _with_companions(aside), strict=True):
            with suppress(FileNotFoundError):
                old.rename(new)
        sync_directory(self.path.parent)
        return aside


class SpoolDirectory:
    """The directory of all files, which several processes may share.

    MAX_BYTES bounds the directory, not the file: a worker counts the pages in use in its own file and the full size of
    every other, so it may stop early, and never exceeds the bound by more than one transaction of each worker.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Prepare; `prepare` makes the directory."""
        self.path = path
        self.max_bytes = max_bytes

    def prepare(self) -> None:
        """Make the directory, open to its owner only.

        Raises:
            SettingsError: It cannot be used.
        """
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_directory(self.path.parent)
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(None, "not readable and writable")
        except OSError as error:
            raise SettingsError(
                f"EVENTFLOW_COLLECTOR__SPOOL_DIR = {str(self.path)!r}: not a usable directory: {error.strerror}"
            ) from error
        try:
            self.path.chmod(0o700)
        except OSError as error:
            log.warning("spool.directory_not_private", directory=str(self.path), reason=error.strerror)

    def claim_one(self) -> Claim:
        """Claim the first file that is nobody's, or a new one; a process that starts again gets its own back.

        Raises:
            SpoolUnavailableError: The directory takes no lock file.
        """
        return next(
            claim
            for number in itertools.count()
            if (claim := self._claim(self.path / f"spool-{number}{SUFFIX}")) is not None
        )

    def claim_abandoned(self) -> Iterator[Claim]:
        """Claim every file that nobody has claimed; it belongs to a process that has died or is no longer started.

        Raises:
            SpoolUnavailableError: The directory cannot be read, or takes no lock file. What was yielded before is ours.
        """
        for path in sorted(self._paths()):
            if (claim := self._claim(path)) is None:
                continue
            try:
                is_there = path.exists()
            except OSError as error:
                claim.release()
                raise SpoolUnavailableError(f"cannot look at {path}: {error.strerror}") from error
            if is_there:
                yield claim
            else:  # its owner has removed it since we looked
                claim.remove()

    def room_bytes(self, path: Path, *, used_bytes: int) -> int:
        """Return how much more may be kept in the file `path`, which now uses `used_bytes`."""
        try:
            figures = os.statvfs(self.path)
            others_bytes = sum(_size(other) for other in self._paths() if other != path)
            journal_bytes = _size(path.with_name(path.name + JOURNAL))
        except (OSError, SpoolUnavailableError):  # unmounted, deleted below us, or no descriptor left to look with
            return 0
        return room_bytes(
            used_bytes=used_bytes + others_bytes,
            journal_bytes=journal_bytes,
            max_bytes=self.max_bytes,
            disk=Disk(
                size_bytes=figures.f_blocks * figures.f_frsize,
                free_bytes=figures.f_bavail * figures.f_frsize,
            ),
        )

    def _paths(self) -> list[Path]:
        try:
            return list(self.path.glob(f"*{SUFFIX}"))
        except OSError as error:
            raise SpoolUnavailableError(f"cannot read {self.path}: {error.strerror}") from error

    def _claim(self, path: Path) -> Claim | None:
        try:
            while True:
                lock = os.open(_lock_of(path), os.O_CREAT | os.O_RDWR, 0o600)
                match _locked(lock, _lock_of(path)):
                    case "ours":
                        return Claim(path, lock)
                    case "theirs":
                        return None
                    case "removed":  # between our opening and locking, by the process that had it
                        continue
        except OSError as error:
            raise SpoolUnavailableError(f"cannot lock {path}: {error.strerror}") from error


def _locked(lock: int, path: Path) -> Literal["ours", "theirs", "removed"]:
    """Lock an open lock file; close it unless it is ours now."""
    verdict: Literal["ours", "theirs", "removed"] = "removed"
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_same_file(lock, path):
            verdict = "ours"
    except BlockingIOError:
        verdict = "theirs"
    finally:  # a file system may also fail to lock at all, every 2 s
        if verdict != "ours":
            os.close(lock)
    return verdict


def _size(path: Path) -> int:
    """Return a file's size; 0 where it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _with_companions(path: Path) -> tuple[Path, ...]:
    return (path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS))
