"""The Python and the SQL in docs/handlers.md, on a real broker and a real database."""

import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import aiohttp
import pytest

from eventflow.outbox.row import COLUMNS
from eventflow.topology import Lane, lane_queue
from tests.support.amqp import Amqp
from tests.support.databases import execute, fetch
from tests.support.documents import ROOT, Step, blocks_of
from tests.support.outbox import arrived, make_outbox, outbox_of, until_empty
from tests.support.services import Service, processor, relay, starting
from tests.support.wait import eventually

DOCUMENT = ROOT / "docs" / "handlers.md"
BLOCKS = list(blocks_of(DOCUMENT))
HANDLERS = [block for block in BLOCKS if block.language == "python" and block.directive.startswith(("handler", "file"))]
[INSERT, ROLES] = [block.text for block in BLOCKS if block.language == "sql"]
# The user of the tests is called `eventflow`, so its default schema would be that of Event Flow.
TABLES = "CREATE TABLE public.orders (id text, article text); CREATE TABLE public.customers (name text NOT NULL)"


def prepared(block: Step, broker_url: str, flow: str, directory: Path, database: str) -> Service:
    """Prepare a processor in a directory that has a block as a module."""
    text = block.text.replace('"notify"', f'"{flow}_out"')
    (directory / "documented.py").write_text(text)
    names = re.findall(r"^(?:async )?def (\w+)", text, re.MULTILINE)
    settings = {"HANDLER__CALL": f"documented:{names[-1]}"}
    if "sessions" in block.directive:
        settings["HANDLER__SESSION"] = "documented:sessions"
    elif "context.db" in text:
        settings["HANDLER__DATABASE_URL"] = database
    return processor(
        broker_url,
        flow=flow,
        prefix=["env", "-C", str(directory), f"DATABASE_URL={database}"],
        PROCESSOR__FLOWS=flow,
        **{f"FLOWS__{flow.upper()}_OUT__TARGET__URL": "http://127.0.0.1:1/"},
        **settings,
    )


@pytest.mark.parametrize("block", HANDLERS, ids=lambda block: f"line {block.line}")
async def test_a_handler_of_the_document_takes_effect(
    block: Step, broker_url: str, flow: str, database: str, tmp_path: Path, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await make_outbox(database)
    await execute(database, TABLES)
    for name in (flow, f"{flow}_out"):
        await amqp.declare_flow(name)
    async with starting(http) as start:
        service = await start(prepared(block, broker_url, flow, tmp_path, database))
        await amqp.publish(lane_queue(flow, Lane.LIVE), aio_pika.Message(b'{"article": "lamp"}', message_id="order-1"))
        await service.counts(http, "eventflow_events_delivered_total", 1)
    if "context.db" in block.text:
        assert [row["id"] for row in await fetch(database, "SELECT id FROM orders")] == ["order-1"]
    emitted = {str(row["id"]) for row in await outbox_of(database)} | set(await arrived(amqp, f"{flow}_out"))
    assert emitted == ({"order-1/0"} if "derive" in block.text else set())


async def test_the_insert_of_the_document_needs_no_other_column(database: str) -> None:
    await make_outbox(database)
    await execute(database, TABLES)
    await execute(database, INSERT)
    [row] = await outbox_of(database)
    assert (row["flow"], row["type"], row["body"], row["source"]) == (
        "notify",
        "order.changed",
        b'{"id": "order-1"}',
        "outbox",
    )


def test_the_contract_of_the_table_has_each_column_that_a_program_writes() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `\w+` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == set(COLUMNS)


async def test_the_roles_of_the_document_have_the_rights_that_they_need_and_no_others(
    broker_url: str, flow: str, database: str, tmp_path: Path, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await make_outbox(database)
    await execute(database, TABLES)
    for name in (flow, f"{flow}_out"):
        await amqp.declare_flow(name)
    suffix, password = secrets.token_hex(4), secrets.token_hex(8)
    roles = {name: f"{name}_{suffix}" for name in re.findall(r"TO (\w+);", ROLES)}
    assert roles.keys() == {"eventflow_handler", "eventflow_outbox_writer", "eventflow_relay"}
    place = urlsplit(database).netloc.rpartition("@")[2]
    urls = {
        name: urlsplit(database)._replace(netloc=f"{role}:{password}@{place}").geturl() for name, role in roles.items()
    }
    for role in roles.values():
        await execute(database, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        await execute(database, re.sub(r"TO (\w+);", lambda found: f"TO {roles[found[1]]};", ROLES))
        await execute(database, f"GRANT INSERT ON orders TO {roles['eventflow_handler']}")
        async with starting(http) as start:
            handling = prepared(HANDLERS[0], broker_url, flow, tmp_path, urls["eventflow_handler"])
            await start(handling)
            await amqp.publish(lane_queue(flow, Lane.LIVE), aio_pika.Message(b"{}", message_id="order-1"))
            await handling.counts(http, "eventflow_events_delivered_total", 1)
            written = INSERT.replace("'notify'", f"'{flow}_out'").replace("UPDATE", "-- UPDATE")
            await execute(urls["eventflow_outbox_writer"], written)
            await start(relay(broker_url, database_url=urls["eventflow_relay"], flows=[f"{flow}_out"]))
            await until_empty(database)
        events: list[str] = []

        async def both_are_there() -> bool:
            events.extend(await arrived(amqp, f"{flow}_out"))
            return len(events) == 2

        await eventually(both_are_there, what="both events")
        assert "order-1/0" in events
        for name, forbidden in {
            "eventflow_handler": "DELETE FROM eventflow.outbox",
            "eventflow_outbox_writer": "SELECT * FROM eventflow.outbox",
            "eventflow_relay": "SELECT * FROM eventflow.inbox",
        }.items():
            with pytest.raises(Exception, match="permission denied"):
                await execute(urls[name], forbidden)
    finally:
        for role in roles.values():
            await execute(database, f"DROP OWNED BY {role}")
            await execute(database, f"DROP ROLE {role}")
