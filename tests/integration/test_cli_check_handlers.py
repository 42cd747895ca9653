"""`eventflow check` of a flow with a handler: its function, and its database."""

import json
import sys

import asyncpg
import pytest

from eventflow.cli.check.finding import Verdict
from eventflow.cli.check.handler import check_handlers
from eventflow.database.schema import DATABASE
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.settings import loaded


@pytest.fixture
async def eventflow(broker_url: str, flow: str, amqp: Amqp) -> Command:
    await amqp.declare_flow(flow)
    return Command(broker_url=broker_url, flow=flow)


async def found_of(eventflow: Command, **handler: str) -> dict[str, dict[str, str]]:
    """Return the findings about the handler, by the first word of what was checked."""
    settings = {f"FLOWS__{eventflow.flow.upper()}__HANDLER__{name}": value for name, value in handler.items()}
    ended = await eventflow("check", "--json", "--flow", eventflow.flow, **settings)
    findings = json.loads(ended.stdout)["findings"]
    assert not [each for each in findings if each["checked"].startswith("target")]
    return {each["checked"].partition(" ")[0]: each for each in findings if "handler" in each["checked"]}


async def test_function_and_database_are_checked(eventflow: Command, database: str) -> None:
    found = await found_of(eventflow, CALL="tests.support.handlers:on_asyncpg", DATABASE_URL=database)
    assert (found["handler"]["verdict"], found["handler"]["found"]) == ("ok", "imported; it runs on the event loop")
    assert found["database"]["verdict"] == "problem"
    assert "eventflow database migrate" in found["database"]["found"]
    assert database.split(":")[2].split("@", maxsplit=1)[0] not in json.dumps(found), "the password is not shown"

    connection = await asyncpg.connect(database)
    await DATABASE.require(connection)
    await connection.close()
    found = await found_of(eventflow, CALL="tests.support.handlers:on_psycopg", DATABASE_URL=database)
    assert found["handler"]["found"] == "imported; it runs on threads"
    assert (found["database"]["verdict"], found["database"]["found"]) == ("ok", "inbox and outbox are there")


async def test_a_driver_that_is_missing_is_a_problem(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    call = "tests.support.handlers:on_psycopg"
    settings = loaded(monkeypatch, HANDLER__CALL=call, HANDLER__DATABASE_URL=database)
    [imported, found] = await check_handlers(settings, ["default"])
    assert (imported.verdict, found.verdict) == (Verdict.OK, Verdict.PROBLEM)
    assert "pip install 'psycopg[binary]'" in found.found


async def test_a_function_that_is_missing_is_a_problem(eventflow: Command) -> None:
    found = await found_of(eventflow, CALL="tests.support.handlers:no_such_function")
    assert set(found) == {"handler"}
    assert found["handler"]["verdict"] == "problem"
    assert "has no no_such_function" in found["handler"]["found"]
    assert "__HANDLER__CALL" in found["handler"]["advice"]
