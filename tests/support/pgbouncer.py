"""PgBouncer in transaction mode: each transaction of a client can run on another connection to the server."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.database.probe import ServerAddress, answers
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess, wait_until
from sandbox.system_package import InstallError, Package, install
from tests.support.means import cannot

PGBOUNCER = Package(
    title="PgBouncer",
    names={"apt-get": ("pgbouncer",), "dnf": ("pgbouncer",)},
    units={"pgbouncer": ("pgbouncer.service",)},
)


@contextmanager
def running_pgbouncer(server_url: str, *, pool_size: int) -> Iterator[str]:
    """Run one in front of a database; yield its URL."""
    program = _program()
    server = urlsplit(server_url)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="eventflow-pgbouncer-") as directory:
        users, configuration = Path(directory, "users.txt"), Path(directory, "pgbouncer.ini")
        users.write_text(f'"{server.username}" "{server.password}"\n')
        configuration.write_text(
            f"[databases]\n* = host={server.hostname} port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = {LOOPBACK}\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {pool_size}\n"
        )
        command: list[str | Path] = [program]
        if os.geteuid() == 0:  # it refuses to run as root, as PostgreSQL does
            user = pwd.getpwnam("nobody")
            for path in (Path(directory), users, configuration):
                os.chown(path, user.pw_uid, user.pw_gid)
            command += ["-u", user.pw_name]
        process = ChildProcess("pgbouncer", [*command, configuration])
        url = server._replace(netloc=f"{server.username}:{server.password}@{LOOPBACK}:{port}").geturl()
        process.start()
        try:
            address = ServerAddress.of(url)
            wait_until(lambda: answers(address) or not process.alive, timeout_s=30, what="PgBouncer to answer")
            assert process.alive, process.explain("PgBouncer ended")
            yield url
        finally:
            process.kill()


def _program() -> str:
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None and os.environ.get("CI") == "true":
        try:
            install(PGBOUNCER, print)
        except InstallError as error:
            cannot(f"no PgBouncer: {error}")
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        cannot("no PgBouncer")
    return program
