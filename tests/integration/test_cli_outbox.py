"""`eventflow database` and `eventflow outbox` as real processes, on a real database."""

import json
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import pytest

from eventflow.database.migrations import MIGRATIONS
from sandbox.ports import free_port
from tests.support.cli import Command, Ended
from tests.support.databases import empty_database, execute, fetch
from tests.support.outbox import make_outbox, outbox_of, put_rows

NOWHERE = "amqp://127.0.0.1:1/"
"""These commands need no broker."""


class Eventflow:
    """`eventflow` with the database of the relay."""

    def __init__(self, url: str | None) -> None:
        self._settings = {} if url is None else {"RELAY__DATABASE_URL": url}
        self._command = Command(broker_url=NOWHERE, flow="orders")

    async def __call__(self, *arguments: str, **settings: str) -> Ended:
        return await self._command(*arguments, **{**self._settings, **settings})

    async def document(self, *arguments: str, **settings: str) -> Any:
        ended = await self(*arguments, "--json", **settings)
        assert ended.status == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
def eventflow(database: str) -> Eventflow:
    return Eventflow(database)


async def park(database: str, ids: list[str], *, flow: str = "orders", error: str = "no such flow") -> list[int]:
    """Put parked rows; return their numbers."""
    await put_rows(database, ids, flow=flow)
    await execute(
        database,
        "UPDATE eventflow.outbox SET parked_at = now(), tries = 10, error = $1 WHERE id = ANY ($2)",
        error,
        ids,
    )
    return [row["number"] for row in await outbox_of(database) if row["id"] in ids]


async def test_migrate_makes_the_tables_and_a_second_time_changes_nothing(eventflow, database):
    assert (await eventflow.document("database", "migrate", "--dry-run"))["databases"][0]["done"] == [
        step.name for step in MIGRATIONS
    ]
    assert await fetch(database, "SELECT FROM pg_namespace WHERE nspname = 'eventflow'") == []
    made = await eventflow("database", "migrate")
    assert "made: 0001_inbox_and_outbox" in made.stdout
    assert "are up to date" in (await eventflow("database", "migrate")).stdout
    await put_rows(database, ["a"], flow="orders")


async def test_the_printed_sql_makes_the_same_tables(database, database_server_url):
    printed = await Eventflow(None)("database", "migrate", "--sql")
    await execute(database, printed.stdout)
    async with empty_database(database_server_url) as other:
        await make_outbox(other)
        columns = (
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'eventflow' ORDER BY table_name, ordinal_position"
        )
        assert await fetch(database, columns) == await fetch(other, columns) != []


async def test_check_reports_missing_tables_with_the_command_to_run(eventflow):
    ended = await eventflow("database", "check")
    assert ended.status == 1
    assert "the schema of inbox and outbox is missing: run `eventflow database migrate`" in ended.stdout


async def test_check_names_the_rights_that_a_role_lacks_for_its_use(eventflow, database):
    await make_outbox(database)
    role, password = f"r{secrets.token_hex(4)}", secrets.token_hex(8)
    parts = urlsplit(database)
    of_role = parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}").geturl()
    await execute(database, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        await execute(
            database,
            f"GRANT USAGE ON SCHEMA eventflow TO {role}; GRANT SELECT ON eventflow.database_versions TO {role};"
            f"GRANT SELECT, DELETE ON eventflow.outbox TO {role}",
        )
        ended = await eventflow("database", "check", RELAY__DATABASE_URL=of_role)
        assert ended.status == 1
        assert "the role lacks these rights: UPDATE on outbox" in " ".join(ended.stdout.split())
        assert password not in ended.stdout
        await execute(database, f"GRANT UPDATE ON eventflow.outbox TO {role}")
        document = await eventflow.document("database", "check", RELAY__DATABASE_URL=of_role)
        assert [each["problems"] for each in document["databases"]] == [[]]
    finally:
        await execute(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_the_database_of_a_handler_is_maintained_too_and_a_shared_one_once(
    eventflow, database, database_server_url
):
    async with empty_database(database_server_url) as other:
        settings = {
            "FLOWS__A__HANDLER__CALL": "shop.handlers:handle",
            "FLOWS__A__HANDLER__DATABASE_URL": other,
            "FLOWS__B__HANDLER__CALL": "shop.handlers:handle",
            "FLOWS__B__HANDLER__DATABASE_URL": database,
        }
        document = await eventflow.document("database", "migrate", **settings)
        assert len(document["databases"]) == 2
        for url in (database, other):
            assert await outbox_of(url) == []


@pytest.mark.parametrize("arguments", [("database", "check"), ("database", "migrate"), ("outbox", "list")])
async def test_without_a_database_the_setting_is_named(arguments):
    ended = await Eventflow(None)(*arguments)
    assert ended.status == 78
    assert "EVENTFLOW_RELAY__DATABASE_URL is not set" in ended.stderr


@pytest.mark.parametrize("arguments", [("database", "check"), ("database", "migrate"), ("outbox", "list")])
async def test_a_database_that_is_away_is_named_without_its_password(arguments):
    port = free_port()
    ended = await Eventflow(f"postgresql://me:geheim@127.0.0.1:{port}/d")(*arguments)
    assert ended.status == 1
    assert f"the database 127.0.0.1:{port}/d cannot be used" in " ".join(ended.stderr.split())
    assert "geheim" not in ended.stderr + ended.stdout


async def test_list_shows_the_parked_rows_with_their_reasons_and_no_waiting_row(eventflow, database):
    await make_outbox(database)
    await put_rows(database, ["waiting"], flow="orders")
    numbers = await park(database, ["p-1", "p-2"])
    await park(database, ["q-1"], flow="other")
    document = await eventflow.document("outbox", "list", "--flow", "orders")
    assert document["parked"] == 2
    assert [(row["number"], row["id"], row["error"]) for row in document["shown"]] == [
        (numbers[0], "p-1", "no such flow"),
        (numbers[1], "p-2", "no such flow"),
    ]
    shown = (await eventflow("outbox", "list", "--limit", "1")).stdout
    assert re.search(rf"{numbers[0]}\s+orders\s+p-1\s", shown), shown
    assert "1 shown of 3 parked rows" in shown


async def test_retry_frees_the_chosen_rows_only(eventflow, database):
    await make_outbox(database)
    first, second = await park(database, ["p-1", "p-2"])
    assert await eventflow.document("outbox", "retry", str(first), "--dry-run") == {"would_retry": 1}
    assert len([row for row in await outbox_of(database) if row["parked_at"]]) == 2
    assert await eventflow.document("outbox", "retry", str(first)) == {"retried": 1}
    rows = {row["number"]: (row["parked_at"] is None, row["tries"]) for row in await outbox_of(database)}
    assert rows == {first: (True, 0), second: (False, 10)}


async def test_all_rows_of_a_flow_are_retried_although_they_are_more_than_one_transaction_changes(eventflow, database):
    await make_outbox(database)
    await park(database, [f"p-{number}" for number in range(5100)])
    await park(database, ["q-1"], flow="other")
    assert await eventflow.document("outbox", "retry", "--flow", "orders") == {"retried": 5100}
    assert [row["id"] for row in await outbox_of(database) if row["parked_at"]] == ["q-1"]


async def test_delete_asks_for_a_confirmation_and_deletes_parked_rows_only(eventflow, database):
    await make_outbox(database)
    await put_rows(database, ["waiting"], flow="orders")
    await park(database, ["p-1"])
    refused = await eventflow("outbox", "delete", "--all")
    assert refused.status == 2
    assert await eventflow.document("outbox", "delete", "--all", "--dry-run") == {"would_delete": 1}
    assert await eventflow.document("outbox", "delete", "--all", "--yes") == {"deleted": 1}
    assert [row["id"] for row in await outbox_of(database)] == ["waiting"]


async def test_a_number_that_is_no_parked_row_changes_nothing(eventflow, database):
    await make_outbox(database)
    [number] = await park(database, ["p-1"])
    for action in (("retry",), ("delete", "--yes")):
        ended = await eventflow("outbox", *action, str(number), "999999")
        assert ended.status == 1
        assert "only 1 of these 2 numbers" in " ".join(ended.stderr.split())
    assert [row["parked_at"] is not None for row in await outbox_of(database)] == [True]


@pytest.mark.parametrize("arguments", [(), ("1", "--all"), ("--flow", "orders", "--all")])
async def test_exactly_one_selection_is_expected(eventflow, arguments):
    assert (await eventflow("outbox", "retry", *arguments)).status == 2


async def test_an_action_is_put_on_record_for_each_flow(eventflow, database):
    await make_outbox(database)
    assert (await eventflow("history", "migrate", HISTORY__URL=database)).status == 0
    await park(database, ["p-1", "p-2"])
    await park(database, ["q-1"], flow="other")
    assert (await eventflow("outbox", "retry", "--all", HISTORY__URL=database)).status == 0
    actions = await fetch(database, "SELECT flow, kind, detail FROM eventflow.actions ORDER BY flow")
    assert [tuple(action) for action in actions] == [
        ("orders", "outbox-retry", "2 parked rows"),
        ("other", "outbox-retry", "1 parked row"),
    ]
