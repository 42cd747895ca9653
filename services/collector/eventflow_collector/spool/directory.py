"""The spool's directory as a collector uses it: created, private, and bounded.

Every call may hang as long as its file system does, so none may be made on the event loop.
"""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import structlog

from eventflow.errors import SettingsError
from eventflow.spool.claims import JOURNAL, SUFFIX, Claim, SpoolFiles
from eventflow.spool.store import SpoolUnavailableError, sync_directory
from eventflow_collector.spool.mounts import mount_of

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


class SpoolDirectory:
    """The directory of all files, which several processes may share.

    `max_bytes` bounds the directory and not the file: a worker counts the pages in use in its own file and the full
    size of every other. So it may stop early, and all together exceed the bound by one transaction of each at most.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Take the path; `prepare` creates the directory."""
        self.path = path
        self.max_bytes = max_bytes
        self.files = SpoolFiles(path)

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
            self.files.try_locks()
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
        claim = self.files.claim_free()
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

    def room_bytes(self, path: Path, *, used_bytes: int) -> int:
        """Return the number of further bytes that fit into the file `path`, which now uses `used_bytes`."""
        try:
            figures = os.statvfs(self.path)
            others_bytes = sum(_size(other) for other in self.files.paths() if other != path)
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

    def _unusable(self, error: OSError) -> SettingsError | SpoolUnavailableError:
        if error.errno in PERMANENT_ERRORS:
            return SettingsError(
                f"EVENTFLOW_COLLECTOR__SPOOL_DIR = {str(self.path)!r}: not a usable directory: {error.strerror}"
            )
        return SpoolUnavailableError(f"cannot use {self.path}: {error.strerror}")


def _size(path: Path) -> int:
    """Return the size of a file; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_strange(path: Path) -> bool:
    """Whether a file in the directory belongs to another program."""
    return not (SUFFIX in path.name or path.suffix == ".lock" or path.name == "lost+found")
