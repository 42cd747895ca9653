"""The private PostgreSQL of tests: fresh, killed, frozen, and started again with its data."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from sandbox.database.postgres import ServerInUseError
from sandbox.database.server import PrivateServer
from tests.support.databases import execute, fetch
from tests.support.wait import eventually

HOLDER = """
import sys, time
from pathlib import Path
from sandbox.database.server import PrivateServer
server = PrivateServer(Path(sys.argv[1]))
server.start()
print(server.port, flush=True)
time.sleep(600)
"""


async def test_each_test_has_an_empty_database(database) -> None:
    assert (
        await fetch(database, "SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        == []
    )


async def test_a_killed_server_starts_again_with_everything_that_was_committed(database_server) -> None:
    await execute(database_server.url, "CREATE TABLE kept (number int)")
    connection = await asyncpg.connect(database_server.url)
    await connection.execute("INSERT INTO kept VALUES (1)")
    database_server.kill()
    assert not database_server.alive
    with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
        await connection.execute("INSERT INTO kept VALUES (2)")
    connection.terminate()
    database_server.start()
    assert [row["number"] for row in await fetch(database_server.url, "SELECT number FROM kept")] == [1]


async def test_a_frozen_server_answers_after_it_is_resumed(database_server) -> None:
    database_server.pause()
    try:
        assert not await asyncio.to_thread(database_server.answers)
    finally:
        database_server.resume()
    assert await asyncio.to_thread(database_server.answers)


def test_a_directory_has_one_server_at_a_time(database_server) -> None:
    with pytest.raises(ServerInUseError):
        PrivateServer(database_server.directory).start()


async def test_a_server_ends_with_its_starter_and_leaves_the_directory_to_the_next(database_server) -> None:
    directory = database_server.directory.parent / f"{database_server.directory.name}-held"
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
        [sys.executable, "-c", HOLDER, directory], stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ)
    )
    with holder:
        port = int(await asyncio.to_thread(holder.stdout.readline))
        holder.send_signal(signal.SIGKILL)
    next_server = PrivateServer(directory, port=port)
    await eventually(lambda: not next_server.answers(), what="the server to end with its starter")
    try:
        next_server.start()
        assert await fetch(next_server.url, "SELECT 1")
    finally:
        next_server.stop()
