"""`eventflow dead` as a real process against a real broker."""

import asyncio
import base64
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from eventflow.amqp.browser import browsing
from eventflow.amqp.connection import connect
from eventflow.message import ATTEMPT, REASON
from eventflow.topology import Lane, dead_queue, lane_queue
from tests.support.amqp import Amqp
from tests.support.cli import FIRST_FAILED_AT, Command, bury, dead_letter, ids_in
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
    "arguments",
    [
        ("replay",),
        ("replay", "a", "--all"),
        ("purge", "--reason", "timeout", "--all", "--yes"),
        ("replay", "--from", "x", "a"),
    ],
)
async def test_which_letters_must_be_said_in_exactly_one_way(eventflow: Command, arguments: tuple[str, ...]) -> None:
    ended = await eventflow("dead", *arguments)
    assert ended.status == 2
    assert "exactly one of them" in ended.stderr


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


async def test_export_writes_every_letter_and_leaves_the_queue_whole(
    eventflow: Command, flow: str, amqp: Amqp, tmp_path: Path
) -> None:
    bodies = [b'{"n": 1}', "grüße\n".encode(), b"\xff\xfe\x00", b""]
    await bury(amqp, flow, [dead_letter(f"id-{number}", body=body) for number, body in enumerate(bodies)])
    file = tmp_path / "dead.ndjson"
    assert (await eventflow("dead", "export", str(file))).status == 0
    assert modes_in(tmp_path) == {"dead.ndjson": 0o600}
    to_stdout = (await eventflow("dead", "export", "-")).stdout
    assert file.read_text() == to_stdout
    records = [json.loads(line) for line in to_stdout.splitlines()]
    assert [
        record["body"].encode() if "body" in record else base64.b64decode(record["body_base64"]) for record in records
    ] == bodies
    assert records[0] == {
        "flow": flow,
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
        "accepted_at": "2026-01-02T03:04:05.000Z",
        "subject": None,
        "traceparent": None,
        "dataschema": None,
        "extensions": None,
        "forwarded": None,
    }
    assert len(await ids_in(amqp, dead_queue(flow))) == len(bodies)


@pytest.mark.parametrize("taken", ["dead.ndjson", "dead.ndjson.part"])
async def test_an_export_overwrites_no_file(
    eventflow: Command, flow: str, amqp: Amqp, tmp_path: Path, taken: str
) -> None:
    await bury(amqp, flow, [dead_letter("a")])
    (tmp_path / taken).write_text("precious")
    ended = await eventflow("dead", "export", str(tmp_path / "dead.ndjson"))
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == f"error: {tmp_path / taken} exists, and no export overwrites a file\n"
    assert list(modes_in(tmp_path)) == [taken]
    assert (tmp_path / taken).read_text() == "precious"


async def test_replay_of_several_ids_moves_those_and_names_the_missing(
    eventflow: Command, flow: str, amqp: Amqp
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in ("a", "b", "c", "d")])
    ended = await eventflow("dead", "replay", "d", "x", "b")
    assert ended.stdout == f"replayed 2 of 4 dead letters of flow {flow}\n"
    assert (ended.status, ended.stderr) == (1, f"error: none of the 4 dead letters of flow {flow} has the id x\n")
    assert await ids_in(amqp, lane_queue(flow, Lane.REPLAY)) == ["b", "d"]
    assert await ids_in(amqp, dead_queue(flow)) == ["a", "c"]


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        (("--type", "order"), ["order"]),
        (("--since", "2026-01-02T04:30Z"), ["later"]),
        (("--until", "2026-01-02T04:04:05Z"), []),
        (("--since", "2026-01-02", "--until", "2026-01-02T04:30", "--type", "test.event"), ["refused", "first"]),
        (("--reason", "refused", "--reason", "timeout", "--since", "1d"), []),
        (("--reason", "refused", "--reason", "timeout"), ["refused"]),
    ],
)
async def test_dead_letters_are_selected_by_every_condition(
    eventflow: Command, flow: str, amqp: Amqp, conditions: tuple[str, ...], ids: list[str]
) -> None:
    letters = [
        dead_letter("refused", reason="refused"),
        dead_letter("order", event_type="order"),
        dead_letter("first"),
        dead_letter("later", last_failed_at=FIRST_FAILED_AT + timedelta(hours=2)),
    ]
    await bury(amqp, flow, letters)
    listed = json.loads((await eventflow("dead", "list", "--json", *conditions)).stdout)
    assert ([letter["id"] for letter in listed["shown"]], listed["dead_letters"]) == (ids, 4)
    counted = json.loads((await eventflow("dead", "count", "--json", *conditions)).stdout)
    assert (counted["counted"], sum(counted["reasons"].values())) == (len(ids), len(ids))
    replayed = json.loads((await eventflow("dead", "replay", "--json", *conditions)).stdout)
    assert replayed == {"flow": flow, "replayed": len(ids), "of": 4}
    assert await ids_in(amqp, lane_queue(flow, Lane.REPLAY)) == ids


async def test_an_unknown_reason_is_refused_with_the_list(eventflow: Command) -> None:
    ended = await eventflow("dead", "replay", "--reason", "server-error")
    assert ended.status == 2
    for word in ("'server-error' is unknown", "server_error", "expired", "certificate_expired"):
        assert word in ended.stderr


async def exported_file(eventflow: Command, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    file = tmp_path / "dead.ndjson"
    assert (await eventflow("dead", "export", str(file))).status == 0
    return file, [json.loads(line) for line in file.read_text().splitlines()]


def rewrite(file: Path, records: Iterable[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records))


async def test_an_edited_export_is_sent_in_place_of_its_dead_letters(
    eventflow: Command, flow: str, amqp: Amqp, tmp_path: Path
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in ("a", "b", "a", "c", "gone")])
    file, records = await exported_file(eventflow, tmp_path)
    await eventflow("dead", "purge", "gone", "--yes")
    records[0]["body"] = "mended"
    del records[2], records[2]  # the second a, and c
    rewrite(file, records)
    dry = await eventflow("dead", "replay", "--from", str(file), "--dry-run")
    assert dry.stdout == f"would replay 3 of 3 lines of flow {flow}\n"
    ended = await eventflow("dead", "replay", "--from", str(file), **ONE_BY_ONE)
    assert (ended.status, ended.stdout) == (0, f"replayed 3 of 3 lines of flow {flow}\n")
    replayed = await amqp.drain(lane_queue(flow, Lane.REPLAY))
    assert [(m.headers["cloudEvents:id"], m.body) for m in replayed] == [
        ("a", b"mended"),
        ("b", b'{"n": 1}'),
        ("gone", b'{"n": 1}'),
    ]
    assert not any({ATTEMPT, REASON} & set(message.headers) for message in replayed)
    assert await ids_in(amqp, dead_queue(flow)) == ["a", "c"], "the file has one line of a only"


async def test_a_wrong_line_is_named_before_anything_is_sent(
    eventflow: Command, flow: str, amqp: Amqp, tmp_path: Path
) -> None:
    await bury(amqp, flow, [dead_letter("a"), dead_letter("b")])
    file, records = await exported_file(eventflow, tmp_path)
    records[1]["body"] = {"n": 2}
    rewrite(file, records)
    ended = await eventflow("dead", "replay", "--from", str(file))
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: {file}, line 2: the body is not a text;")
    assert ended.stderr.endswith("Nothing was sent.\n")
    rewrite(file, [{**records[0], "flow": "another"}])
    assert "line 1: it is of the flow 'another'" in (await eventflow("dead", "replay", "--from", str(file))).stderr
    assert await amqp.depth(dead_queue(flow)) == 2
    assert await amqp.depth(lane_queue(flow, Lane.REPLAY)) == 0


async def test_a_replay_from_a_file_killed_half_way_loses_nothing(
    eventflow: Command, flow: str, amqp: Amqp, tmp_path: Path
) -> None:
    ids = {f"id-{number}" for number in range(2000)}
    await bury(amqp, flow, [dead_letter(event_id) for event_id in ids])
    file, records = await exported_file(eventflow, tmp_path)
    rewrite(file, ({**record, "body": "mended"} for record in records))
    process = await eventflow.start("dead", "replay", "--from", str(file), **ONE_BY_ONE)

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
    assert (await eventflow("dead", "replay", "--from", str(file))).status == 0
    assert await amqp.depth(dead_queue(flow)) == 0
    replayed = await amqp.drain(lane_queue(flow, Lane.REPLAY))
    assert {message.headers["cloudEvents:id"] for message in replayed} == ids
    assert {message.body for message in replayed} == {b"mended"}
