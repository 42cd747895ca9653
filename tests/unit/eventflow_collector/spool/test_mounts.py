"""Which file system a path is on, and whether its files outlive a restart."""

from pathlib import Path, PurePosixPath

import pytest

from eventflow_collector.spool.mounts import find_mount, mount_of

CONTAINER = """\
1561 1207 0:172 / / rw,relatime master:338 - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
1562 1561 0:175 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1563 1561 0:176 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
1570 1561 254:1 /var/lib/docker/volumes/spool/_data /var/lib/eventflow/spool rw,relatime master:1 - ext4 /dev/vda1 rw
1571 1561 0:180 / /my\\040spool rw,relatime - tmpfs tmpfs rw
1572 1561 254:2 / /mnt rw - xfs /dev/vdb rw
1573 1572 0:181 / /mnt rw - ramfs none rw
1574 1561 0:182 / /mnt/deep/overlay rw - overlay overlay rw
no mount at all
"""


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("/var/lib/eventflow/spool", "ext4", None),
        ("/var/lib/eventflow/spool/below", "ext4", None),
        ("/var/lib/eventflow/spool-2", "overlay", "the container's own layer"),
        ("/vol", "overlay", "the container's own layer"),
        ("/dev/shm/spool", "tmpfs", "tmpfs is memory"),
        ("/my spool", "tmpfs", "tmpfs is memory"),
        ("/mnt/spool", "ramfs", "ramfs is memory"),
        ("/mnt/deep/overlay/spool", "overlay", None),
    ],
)
def test_a_spool_that_would_be_lost_with_the_container_is_recognised(path: str, kind: str, reason: str | None) -> None:
    """docker/cli#4665: quotes kept in a path led to a folder inside the container; five events were gone with it."""
    mount = find_mount(PurePosixPath(path), CONTAINER)
    assert mount is not None
    assert mount.kind == kind
    if reason is None:
        assert mount.loses_files is None
    else:
        assert reason in str(mount.loses_files)


def test_without_mounts_nothing_is_known() -> None:
    assert find_mount(PurePosixPath("/x"), "") is None


def test_the_system_knows_the_mount_of_every_path(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("Linux only")
    for path in (tmp_path, tmp_path / "not" / "there"):
        mount = mount_of(path)
        assert mount is not None
        assert path.is_relative_to(mount.point)
