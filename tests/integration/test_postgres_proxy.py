"""The proxy in front of PostgreSQL holds exactly the moment that it is told to hold."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.databases import execute, fetch
from tests.support.postgres_proxy import PostgresProxy
from tests.support.wait import eventually


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[PostgresProxy]:
    await execute(database, "CREATE TABLE written (number integer)")
    async with PostgresProxy(database) as opened:
        yield opened


async def write(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO written VALUES ($1)", 1)
    finally:
        connection.terminate()


async def rows(database: str) -> int:
    return len(await fetch(database, "SELECT FROM written"))


async def test_a_held_statement_does_not_arrive_until_the_hold_is_lifted(database, proxy):
    with proxy.holding(b"COMMIT") as hold:
        writing = asyncio.create_task(write(proxy.url))
        await eventually(lambda: hold.count == 1, what="the COMMIT")
        assert await rows(database) == 0
    await writing
    assert await rows(database) == 1


async def test_a_held_answer_leaves_the_statement_done(database, proxy):
    with proxy.holding(b"COMMIT", answers=True) as hold:
        writing = asyncio.create_task(write(proxy.url))
        await eventually(lambda: hold.count == 1, what="the answer")
        assert await rows(database) == 1
        assert not writing.done()
    await writing


@pytest.mark.parametrize(("answers", "written"), [(False, 0), (True, 1)])
async def test_a_cut_ends_what_is_held_on_both_sides(database, proxy, answers, written):
    with proxy.holding(b"COMMIT", answers=answers) as hold:
        writing = asyncio.create_task(write(proxy.url))
        await eventually(lambda: hold.count == 1, what="the COMMIT")
        await proxy.cut()
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await writing
    assert await rows(database) == written
    await write(proxy.url)
