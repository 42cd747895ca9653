"""Other surroundings for a process: mounts or names of its own, or a name server that never answers.

`python -m tests.support.surroundings COMMAND...` runs a command in a namespace without a network but loopback, in which
no name is answered.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.means import cannot

NAME_SERVER = "127.0.0.53"
AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
"""Options of `unshare` for the rights of root in what it makes; some machines keep users' namespaces from root too."""

_ALONE = ("unshare", *AS_ROOT, "--mount", "--net")


def prepared_by(script: str, *options: str) -> tuple[str, ...]:
    """Return a prefix for a command: a shell script of mounts runs first, and no other process sees these mounts.

    Args:
        options: Further ones of `unshare`. Without `AS_ROOT` it needs the rights of root.
    """
    return ("unshare", "--mount", *options, "sh", "-c", f'{script} && exec "$@"', "sh")


def with_hosts(directory: Path, *entries: tuple[str, str]) -> tuple[str, ...]:
    """Return a prefix for a command, in whose process these (address, name) pairs are all names that there are."""
    hosts = directory / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for address, name in entries))
    return _possible(*prepared_by(f'mount --bind "{hosts}" /etc/hosts', *AS_ROOT))


def with_silent_names() -> tuple[str, ...]:
    """Return a prefix for a command, in whose process every lookup takes as long as the system waits: 10 s or more."""
    return _possible(*_ALONE, sys.executable, "-m", __name__)


def with_address(address: str) -> tuple[str, ...]:
    """Return a prefix for a command, whose network has only loopback and this address (`ADDRESS/LENGTH [OPTION]`)."""
    script = f'ip link set lo up && ip addr add {address} dev lo && exec "$@"'
    return _possible("unshare", *AS_ROOT, "--net", "sh", "-c", script, "sh")


def alone_on_loopback() -> tuple[str, ...]:
    """Return a prefix for a command on a machine with only loopback; all its processes end with it."""
    script = 'ip link set lo up && exec "$@"'
    ends = ("--pid", "--fork", "--kill-child", "--mount-proc")
    return _possible("unshare", *AS_ROOT, "--net", *ends, "sh", "-c", script, "sh")


def _possible(*prefix: str) -> tuple[str, ...]:
    """Return a prefix that this machine lets us use."""
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        cannot(f"no namespaces of our own: {error}")
    return prefix


def _be_silent() -> None:
    """Keep a socket that takes questions and is never read, across the exec that follows."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((NAME_SERVER, 53))
    os.set_inheritable(server.detach(), True)
    settings = Path(f"/tmp/resolv-{os.getpid()}.conf")
    settings.write_text(f"nameserver {NAME_SERVER}\noptions timeout:8 attempts:2\n")
    subprocess.run(["mount", "--bind", str(settings), "/etc/resolv.conf"], check=True)
    settings.unlink()


if __name__ == "__main__":
    _be_silent()
    os.execvp(sys.argv[1], sys.argv[1:])
