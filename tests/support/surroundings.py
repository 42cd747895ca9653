"""Other surroundings for a process: names of its own, or a name server that never answers. In namespaces of its own.

python -m tests.support.surroundings hosts FILE COMMAND...   with this file in place of /etc/hosts
python -m tests.support.surroundings silent COMMAND...       without a network but loopback, and without any answer
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.means import cannot

NAME_SERVER = "127.0.0.53"
_ALONE = ("unshare", "--map-root-user", "--mount", "--net")
_WITH_NETWORK = ("unshare", "--map-root-user", "--mount")


def with_hosts(directory: Path, *entries: tuple[str, str]) -> tuple[str, ...]:
    """Return a prefix for a command, in whose process these (address, name) pairs are all names that there are."""
    _require(_WITH_NETWORK)
    hosts = directory / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for address, name in entries))
    return (*_WITH_NETWORK, sys.executable, "-m", __name__, "hosts", str(hosts))


def with_silent_names() -> tuple[str, ...]:
    """Return a prefix for a command, in whose process every lookup takes as long as the system waits: 10 s or more."""
    _require(_ALONE)
    return (*_ALONE, sys.executable, "-m", __name__, "silent")


def _require(namespaces: Sequence[str]) -> None:
    try:
        subprocess.run([*namespaces, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        cannot(f"no namespaces of our own: {error}")


def _replace(path: str, by: str) -> None:
    subprocess.run(["mount", "--bind", by, path], check=True)


def _be_silent() -> None:
    """Keep a socket that takes questions and is never read, across the exec that follows."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((NAME_SERVER, 53))
    os.set_inheritable(server.detach(), True)
    settings = Path(f"/tmp/resolv-{os.getpid()}.conf")
    settings.write_text(f"nameserver {NAME_SERVER}\noptions timeout:8 attempts:2\n")
    _replace("/etc/resolv.conf", str(settings))
    settings.unlink()


def main(kind: str, *arguments: str) -> None:
    """Change the surroundings and become the command."""
    command: Sequence[str] = arguments
    if kind == "hosts":
        _replace("/etc/hosts", arguments[0])
        command = arguments[1:]
    else:
        _be_silent()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
