"""Kind of the file system that a path is on, by Linux's `/proc/self/mountinfo`. Pure, except `mount_of`."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MOUNTINFO = Path("/proc/self/mountinfo")

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
CONTAINER_LAYERS = frozenset({"overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mounted file system.

    Attributes:
        point: The path at which it is mounted.
        kind: Its type, such as `ext4`.
    """

    point: PurePosixPath
    kind: str

    @property
    def loses_files(self) -> str | None:
        """The reason why files on it may be lost after a restart; None if no reason is known."""
        if self.kind in IN_MEMORY:
            return f"{self.kind} is memory: its files are gone after a restart"
        if self.kind in CONTAINER_LAYERS and self.point == PurePosixPath("/"):
            return "it is the container's own layer, which is deleted with the container: mount a volume there"
        return None


def mount_of(path: Path) -> Mount | None:
    """Find the mount that a path is on, symbolic links resolved; None if the system does not list it."""
    try:
        return find_mount(PurePosixPath(path.resolve()), os.fsdecode(MOUNTINFO.read_bytes()))
    except OSError:
        return None


def find_mount(path: PurePosixPath, mountinfo: str) -> Mount | None:
    """Find the mount of an absolute path in the text of a `mountinfo` (proc_pid_mountinfo(5))."""
    mounts = [mount for line in mountinfo.splitlines() if (mount := _read(line)) is not None]
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    # Reversed, because the last of several mounts at one point covers the others, and `max` returns the first.
    return max(reversed(above), key=lambda mount: len(mount.point.parts), default=None)


def _read(line: str) -> Mount | None:
    """Read a line such as `36 35 98:0 / /mount/point rw,noatime master:1 - ext3 /dev/sda1 rw`; None if it is none."""
    before, separator, after = line.partition(" - ")
    fields, kinds = before.split(" "), after.split(" ")
    if not separator or len(fields) < 5:
        return None
    # Spaces, tabs, line ends and backslashes are written as three octal digits.
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
    return Mount(point=PurePosixPath(point), kind=kinds[0])
