"""The spool's directory: the owner of each file, and the room for more.

A file belongs to the process that holds the lock on the lock file beside it. The kernel releases the lock when that
process ends in any way, so a file that can be locked is abandoned. Every call may hang as long as its file system does,
so none may be made on the event loop.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from eventflow.errors import SettingsError
from eventflow_collector.spool.mounts import mount_of
from eventflow_collector.spool.store import SpoolUnavailableError, sync_directory

SUFFIX = ".sqlite3"
JOURNAL = "-wal"
COMPANIONS = (JOURNAL, "-shm")
SET_ASIDE = ".corrupt-"

LOCK_TRIES = 16
"""Attempts to lock a lock file that is removed between its opening and its locking. Another process removes it once.
On a file system with a new inode number at every `stat`, it would seem removed every time."""

FILES_MAX = 1000
"""Number of files that are tried in search of a free one, far above the number of workers."""

PERMANENT_ERRORS = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EINVAL,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSYS,
        errno.ENOTDIR,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
    }
)
"""Errors that last until a person changes something. All others (a full disk, EIO, a lost server) may pass."""

RESERVE_MAX_BYTES = 64 * 1024 * 1024
RESERVE_SHARE = 0.05
"""Share of the file system that is left free, at most RESERVE_MAX_BYTES: for deleting rows, and for other programs."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system, in bytes."""

    size_bytes: int
    free_bytes: int


def room_bytes(*, used_bytes: int, journal_bytes: int, max_bytes: int, disk: Disk) -> int:
    """Return the number of further bytes that fit within the bounds of the spool and of the disk; at least 0.

    Each event takes room twice: in the journal, and in the file once the journal is copied there.
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


class SpoolDirectory:
    """The directory of all files, which several processes may share.

    `max_bytes` bounds the directory and not the file: a worker counts the pages in use in its own file and the full
    size of every other. So it may stop early, and all together exceed the bound by one transaction of each at most.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Take the path; `prepare` creates the directory."""
        self.path = path
        self.max_bytes = max_bytes
        self._skipped: set[Path] = set()

    def prepare(self) -> None:
        """Create the directory, open to its owner only, and test that its locks exclude other processes.

        Raises:
            SettingsError: It cannot be used until a person changes it.
            SpoolUnavailableError: It cannot be used now.
        """
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_directory(self.path.parent)
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "not readable and writable")
            self._try_locks()
        except OSError as error:
            raise self._unusable(error) from error
        self._make_private()

    def _make_private(self) -> None:
        """Keep other users from listing the directory; they cannot read its files in any case.

        A directory with files of other programs is left unchanged, because it may be set by mistake: if /tmp or the
        root of the file system were closed, other programs would fail.
        """
        try:
            if not stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                return
            if (strange := next(filter(_is_strange, self.path.iterdir()), None)) is not None:
                reason = f"it holds {strange.name}, which is not a file of the spool"
            else:
                self.path.chmod(0o700)
                return
        except OSError as error:
            reason = error.strerror or str(error)
        log.warning("spool.directory_not_private", directory=str(self.path), reason=reason)

    def claim_own(self) -> Claim:
        """Prepare the directory, claim a file in it for this process, and log its place and the room for events.

        Raises:
            SettingsError: The directory cannot be used until a person changes it.
            SpoolUnavailableError: It cannot be used now.
        """
        self.prepare()
        claim = self.claim_one()
        mount = mount_of(self.path)
        log.info(
            "spool.opened",
            directory=str(self.path.absolute()),
            file=claim.path.name,
            file_system=None if mount is None else mount.kind,
            mounted_at=None if mount is None else str(mount.point),
            room_bytes=self.room_bytes(claim.path, used_bytes=_size(claim.path)),
            max_bytes=self.max_bytes,
        )
        if mount is not None and (reason := mount.loses_files) is not None:
            log.warning("spool.directory_volatile", directory=str(self.path.absolute()), reason=reason)
        return claim

    def claim_one(self) -> Claim:
        """Claim the first file that is free, or a new one; so a process that starts again gets its own file.

        Raises:
            SpoolUnavailableError: The directory takes no lock file.
        """
        for number in range(FILES_MAX):
            if (claim := self._claim(self.path / f"spool-{number}{SUFFIX}")) is not None:
                return claim
        raise SpoolUnavailableError(f"each of {FILES_MAX} files in {self.path} is in use or belongs to another user")

    def claim_abandoned(self) -> Iterator[Claim]:
        """Claim every file that is not claimed: its process has died, or is no longer started.

        Raises:
            SpoolUnavailableError: The directory cannot be read, or takes no lock file. Claims yielded before stay ours.
        """
        for path in sorted(self._paths()):
            if (claim := self._claim(path)) is None:
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

    def room_bytes(self, path: Path, *, used_bytes: int) -> int:
        """Return the number of further bytes that fit into the file `path`, which now uses `used_bytes`."""
        try:
            figures = os.statvfs(self.path)
            others_bytes = sum(_size(other) for other in self._paths() if other != path)
            journal_bytes = _size(path.with_name(path.name + JOURNAL))
        except (OSError, SpoolUnavailableError):  # unmounted, deleted meanwhile, or no descriptor is left
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

    def _try_locks(self) -> None:
        """Lock a file of our own twice; the second lock must fail.

        Some network file systems refuse every lock, so that no file would ever be free. Some grant every lock, so that
        two processes would own one file.

        Raises:
            OSError: The directory takes no file or no lock.
        """
        probe = self.path / f".probe-{secrets.token_hex(8)}.lock"
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

    def _unusable(self, error: OSError) -> SettingsError | SpoolUnavailableError:
        if error.errno in PERMANENT_ERRORS:
            return SettingsError(
                f"EVENTFLOW_COLLECTOR__SPOOL_DIR = {str(self.path)!r}: not a usable directory: {error.strerror}"
            )
        return SpoolUnavailableError(f"cannot use {self.path}: {error.strerror}")

    def _claim(self, path: Path) -> Claim | None:
        """Claim a file; None if another process has it or it belongs to another user."""
        try:
            for _ in range(LOCK_TRIES):
                lock = os.open(_lock_of(path), os.O_CREAT | os.O_RDWR, 0o600)
                match _locked(lock, _lock_of(path)):
                    case "ours" if _is_foreign(path):
                        os.close(lock)
                        self._skip(path)
                        return None
                    case "ours":
                        return Claim(path, lock)
                    case "theirs":
                        return None
                    case "removed":  # by its owner, between our opening and our locking
                        continue
        except PermissionError as error:
            if _is_there(_lock_of(path)):
                self._skip(path)
                return None
            raise SpoolUnavailableError(f"cannot lock {path}: {error.strerror}") from error
        except OSError as error:
            raise SpoolUnavailableError(f"cannot lock {path}: {error.strerror}") from error
        raise SpoolUnavailableError(f"cannot lock {path}: its lock file is replaced at every look")

    def _skip(self, path: Path) -> None:
        """Skip a file of another user. Its events stay in it until that user's collector sends them."""
        if path not in self._skipped:  # logged once, not at every search
            self._skipped.add(path)
            log.warning("spool.file_skipped", file=str(path), reason="it, or its lock, belongs to another user")


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


def _size(path: Path) -> int:
    """Return the size of a file; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_strange(path: Path) -> bool:
    """Whether a file in the directory belongs to another program."""
    return not (SUFFIX in path.name or path.suffix == ".lock" or path.name == "lost+found")


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _with_companions(path: Path) -> tuple[Path, ...]:
    return (path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS))
