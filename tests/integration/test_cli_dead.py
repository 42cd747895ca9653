"""`eventflow dead` as a real process against a real broker."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from eventflow.amqp.browser import browsing
from eventflow.amqp.connection import connect
from eventflow.message import ATTEMPT, REASON
from eventflow.topology import Lane, dead_queue, lane_queue
from tests.support.amqp import Amqp
from tests.support.cli import Command, bury, dead_letter, ids_in
from tests.support.wait import eventually

IDS = [f"id-{number:04}" for number in range(30)]
ONE_BY_ONE = {"SOURCE__MAX_BODY_BYTES": str(64 * 1024 * 1024)}
"""The bodies of a share hold at most 64 MiB: with events this large, letters are read one by one."""


@pytest.fixture
async def eventflow(broker_url: str, flow: str, amqp: Amqp) -> Command:
    await amqp.declare_flow(flow)
    return Command(broker_url=broker_url, flow=flow)


async def test_fifty_looks_leave_the_dead_queue_whole_and_in_order(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    shown = await eventflow("dead", "list", "--limit", "5")
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:6]] == IDS[:5]
    assert "5 shown of 30" in shown.stdout
    for event_id in IDS[:3]:
        assert (await eventflow("dead", "show", event_id)).status == 0
    connection = await connect(eventflow.broker_url, name="fifty looks")
    async with connection:
        for look in range(50):  # what both commands do, without the start of a process
            async with browsing(connection, dead_queue(flow)) as browser:
                assert len(await browser.read(1 + look % 32)) == min(1 + look % 32, len(IDS))
    assert await amqp.depth(dead_queue(flow)) == len(IDS)
    assert await ids_in(amqp, dead_queue(flow)) == IDS


async def test_a_short_look_after_an_export_keeps_the_order(eventflow: Command, flow: str, amqp: Amqp) -> None:
    ids = [f"id-{number:04}" for number in range(600)]
    await bury(amqp, flow, [dead_letter(event_id) for event_id in ids])
    await eventflow("dead", "export")
    await eventflow("dead", "list", "--limit", "3", **ONE_BY_ONE)
    await bury(amqp, flow, [dead_letter("last")])
    await eventflow("dead", "show", ids[100], **ONE_BY_ONE)
    assert await ids_in(amqp, dead_queue(flow)) == [*ids, "last"]


async def test_show_tells_why_and_prints_the_body(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter("a", body=b'{"order":{"id":7}}'), dead_letter("b", body=b"\xff\x00")])
    shown = (await eventflow("dead", "show", "a")).stdout
    for part in ("server_error", "503", "12", "2026-01-02T03:04:05.000Z", "2026-01-02T04:04:05.000Z", '    "id": 7'):
        assert part in shown
    assert "ff 00" in (await eventflow("dead", "show", "b")).stdout


async def test_an_unknown_id_is_one_line_and_status_1(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter("a")])
    for command in (("show", "b"), ("replay", "b"), ("purge", "b", "--yes")):
        ended = await eventflow("dead", *command)
        assert ended.status == 1
        assert ended.stderr == f"error: none of the 1 dead letters of flow {flow} has the id b\n"
    assert await amqp.depth(dead_queue(flow)) == 1


async def test_replay_by_reason_starts_attempts_anew_and_leaves_the_others(
    eventflow: Command, flow: str, amqp: Amqp
) -> None:
    letters = [
        dead_letter(event_id, reason="timeout" if number % 3 else "client_error") for number, event_id in enumerate(IDS)
    ]
    await bury(amqp, flow, letters)
    dry = await eventflow("dead", "replay", "--reason", "timeout", "--dry-run")
    assert dry.stdout == f"would replay 20 of 30 dead letters of flow {flow}\n"
    ended = await eventflow("dead", "replay", "--reason", "timeout", **ONE_BY_ONE)
    assert (ended.status, ended.stdout) == (0, f"replayed 20 of 30 dead letters of flow {flow}\n")
    replayed = await amqp.drain(lane_queue(flow, Lane.REPLAY))
    assert [message.headers["cloudEvents:id"] for message in replayed] == [i for n, i in enumerate(IDS) if n % 3]
    assert not any({ATTEMPT, REASON} & set(message.headers) for message in replayed)
    assert await ids_in(amqp, dead_queue(flow)) == [i for n, i in enumerate(IDS) if not n % 3]


async def test_replay_of_one_id_takes_all_its_copies(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in ("a", "b", "a")])
    assert (await eventflow("dead", "replay", "a")).status == 0
    assert await ids_in(amqp, lane_queue(flow, Lane.REPLAY)) == ["a", "a"]
    assert await ids_in(amqp, dead_queue(flow)) == ["b"]


async def test_a_replay_killed_half_way_loses_nothing(eventflow: Command, flow: str, amqp: Amqp) -> None:
    ids = {f"id-{number}" for number in range(2000)}
    await bury(amqp, flow, [dead_letter(event_id) for event_id in ids])
    process = await eventflow.start("dead", "replay", "--all", **ONE_BY_ONE)

    async def is_half_way() -> bool:
        return await amqp.depth(lane_queue(flow, Lane.REPLAY)) >= 100

    await eventually(is_half_way, what="100 replayed")
    process.kill()
    await process.communicate()

    async def is_whole_again() -> bool:
        dead, replayed = await amqp.depth(dead_queue(flow)), await amqp.depth(lane_queue(flow, Lane.REPLAY))
        return dead + replayed >= len(ids) and await amqp.consumers(dead_queue(flow)) == 0

    await eventually(is_whole_again, what="every id in the dead queue or the replay lane")
    assert await amqp.depth(dead_queue(flow)) > 0, "killed too late to tell"
    assert (await eventflow("dead", "replay", "--all")).status == 0
    assert await amqp.depth(dead_queue(flow)) == 0
    replayed = await ids_in(amqp, lane_queue(flow, Lane.REPLAY))
    assert set(replayed) == ids
    assert len(replayed) - len(ids) <= 1, "one at a time was moved: one duplicate at most"


async def test_a_replay_ends_though_new_letters_keep_arriving(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    stop = asyncio.Event()
    arriving = asyncio.create_task(_keep_burying(amqp, flow, stop))
    try:
        ended = await eventflow("dead", "replay", "--all", **ONE_BY_ONE)
    finally:
        stop.set()
        await arriving
    assert ended.status == 0
    replayed = await ids_in(amqp, lane_queue(flow, Lane.REPLAY))
    assert replayed[: len(IDS)] == IDS
    assert f"replayed {len(replayed)} of {len(replayed)}" in ended.stdout


async def _keep_burying(amqp: Amqp, flow: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await bury(amqp, flow, [dead_letter("new")])


async def test_purge_needs_consent_and_deletes_what_was_asked_for(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter("a", reason="timeout"), dead_letter("b"), dead_letter("c")])
    refused = await eventflow("dead", "purge", "--all")
    assert (refused.status, "--yes" in refused.stderr) == (2, True)
    assert "would delete 2 of 3" in (await eventflow("dead", "purge", "--reason", "server_error", "--dry-run")).stdout
    assert await amqp.depth(dead_queue(flow)) == 3
    assert "deleted 2 of 3" in (await eventflow("dead", "purge", "--reason", "server_error", "--yes")).stdout
    assert await ids_in(amqp, dead_queue(flow)) == ["a"]


@pytest.mark.parametrize(
    "arguments", [("replay",), ("replay", "a", "--all"), ("purge", "--reason", "x", "--all", "--yes")]
)
async def test_which_letters_must_be_said_in_exactly_one_way(eventflow: Command, arguments: tuple[str, ...]) -> None:
    ended = await eventflow("dead", *arguments)
    assert ended.status == 2
    assert "exactly one of them" in ended.stderr


async def test_export_writes_every_letter_and_leaves_the_queue_whole(
    eventflow: Command, flow: str, amqp: Amqp, tmp_path: Path
) -> None:
    bodies = [b'{"n": 1}', "grüße\n".encode(), b"\xff\xfe\x00", b""]
    await bury(amqp, flow, [dead_letter(f"id-{number}", body=body) for number, body in enumerate(bodies)])
    file = tmp_path / "dead.ndjson"
    assert (await eventflow("dead", "export", str(file))).status == 0
    to_stdout = (await eventflow("dead", "export", "-")).stdout
    assert file.read_text() == to_stdout
    records = [json.loads(line) for line in to_stdout.splitlines()]
    assert [
        record["body"].encode() if "body" in record else base64.b64decode(record["body_base64"]) for record in records
    ] == bodies
    assert records[0] == {
        "id": "id-0",
        "source": "test",
        "type": "test.event",
        "time": "2026-01-02T03:04:05.000Z",
        "reason": "server_error",
        "last_status": 503,
        "attempts": 12,
        "first_failed_at": "2026-01-02T03:04:05.000Z",
        "last_failed_at": "2026-01-02T04:04:05.000Z",
        "content_type": "application/json",
        "content_encoding": None,
        "body": '{"n": 1}',
    }
    assert len(await ids_in(amqp, dead_queue(flow))) == len(bodies)
