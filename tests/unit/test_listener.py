"""Where a service can listen."""

import subprocess
import sys
from pathlib import Path

from tests.support.means import cannot


def test_a_link_local_address_is_listened_on_with_its_zone(tmp_path: Path) -> None:
    """Found in review: "Invalid argument" and exit 78; 0.1.0 served admin there."""
    script = tmp_path / "listen.py"
    script.write_text(
        "from eventflow.listener import listen\n"
        "print(listen('fe80::9%lo', 0, backlog=1, setting='PORT').getsockname()[0])\n"
    )
    with_address = f"ip link set lo up && ip addr add fe80::9/64 dev lo nodad && exec {sys.executable} {script}"
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", with_address]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        cannot(f"no unshare(1): {error}")
    if "unshare" in ended.stderr or "RTNETLINK" in ended.stderr:
        cannot(f"no network of our own: {ended.stderr}")
    assert ended.stdout.startswith("fe80::9"), ended.stderr
