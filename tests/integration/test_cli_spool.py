"""`eventflow spool send` as a real process against a real broker: nothing is lost, and little is sent twice."""

import json
from pathlib import Path

import aiohttp
import pytest

from eventflow.operations.left_spool import WINDOW_MAX_EVENTS
from eventflow.spool.store import Store
from eventflow.topology import Lane, ingest_specs, lane_queue
from tests.support.amqp import Amqp
from tests.support.cli import Command, ids_in
from tests.support.services import collector
from tests.support.spool_files import flip_a_bit, ids_in_file, record, write
from tests.support.wait import eventually

IDS = [f"id-{number:05}" for number in range(600)]


@pytest.fixture
def eventflow(broker_url: str, flow: str) -> Command:
    return Command(broker_url=broker_url, flow=flow)


@pytest.fixture
def queue(flow: str) -> str:
    return lane_queue(flow, Lane.LIVE)


async def test_the_events_of_all_files_are_sent_in_order_and_deleted(
    eventflow: Command, flow: str, queue: str, amqp: Amqp, tmp_path: Path
) -> None:
    write(tmp_path / "spool-0.sqlite3", IDS[:400], queue=queue)
    write(tmp_path / "spool-1.sqlite3", IDS[400:], queue=queue)
    looked = await eventflow("spool", "send", str(tmp_path), "--dry-run", "--json")
    assert (looked.status, json.loads(looked.stdout)["would_send"]) == (0, 600)
    assert ids_in_file(tmp_path / "spool-0.sqlite3") == IDS[:400]

    sent = await eventflow("spool", "send", str(tmp_path))
    assert (sent.status, sent.stdout) == (0, f"sent 600 events of {tmp_path}: 600 of flow {flow}\n")
    assert await ids_in(amqp, queue) == IDS
    again = await eventflow("spool", "send", str(tmp_path), "--json")
    assert again.status == 0
    assert json.loads(again.stdout) == {
        "directory": str(tmp_path),
        "sent": 0,
        "flows": {},
        "left": 0,
        "refused": {},
        "unreadable": [],
        "damaged": {},
        "set_aside": [],
    }


async def test_it_needs_no_queue_and_no_setting_of_the_flow(
    broker_url: str, flow: str, queue: str, amqp: Amqp, tmp_path: Path
) -> None:
    write(tmp_path / "spool-0.sqlite3", IDS[:3], queue=queue)
    ended = await Command(broker_url=broker_url, flow="another")("spool", "send", str(tmp_path))
    assert ended.status == 0, ended.stderr
    assert await ids_in(amqp, queue) == IDS[:3]


async def test_unreadable_rows_and_refused_events_stay_and_all_others_are_sent(
    eventflow: Command, queue: str, amqp: Amqp, tmp_path: Path
) -> None:
    path = tmp_path / "spool-0.sqlite3"
    write(path, IDS[:3], queue=queue)
    store = Store(path)
    store.apply([record(event_id="nowhere", queue="no-such-queue")])
    store.close()
    flip_a_bit(path)
    (tmp_path / "spool-1.sqlite3").write_bytes(b"not a database" * 1000)
    ended = await eventflow("spool", "send", str(tmp_path), "--json")
    assert ended.status == 1
    document = json.loads(ended.stdout)
    assert (document["sent"], document["left"]) == (2, 2)
    assert document["unreadable"] == [{"file": "spool-0.sqlite3", "seq": 1}]
    assert document["refused"] == {"there is no such queue": 1}
    assert list(document["damaged"]) == ["spool-1.sqlite3"]
    assert await ids_in(amqp, queue) == IDS[1:3]
    assert ids_in_file(path) == [IDS[0], "nowhere"]
    shown = await eventflow("spool", "send", str(tmp_path))
    assert shown.status == 1
    for part in (
        "sent 0 events",
        "unreadable in spool-0.sqlite3: 1 (rows 1)",
        "refused by RabbitMQ: 1 (",
        "spool-1.sqlite3 is damaged",
    ):
        assert part in shown.stdout


async def test_a_directory_that_a_running_collector_uses_is_refused(
    eventflow: Command, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = collector(eventflow.broker_url, flow=flow, COLLECTOR__SPOOL_DIR=str(tmp_path))
    with service.process:
        await service.ready(http)
        ended = await eventflow("spool", "send", str(tmp_path))
        assert (ended.status, ended.stdout) == (1, "")
        assert ended.stderr == f"error: a running collector, or another command, uses {tmp_path}/spool-0.sqlite3\n"


async def test_a_directory_without_a_spool_is_wrong_usage(eventflow: Command, tmp_path: Path) -> None:
    for directory, words in ((tmp_path, "has no file of a spool"), (tmp_path / "gone", "is not a directory")):
        ended = await eventflow("spool", "send", str(directory))
        assert ended.status == 2
        assert words in " ".join(ended.stderr.split())


async def test_without_a_broker_nothing_changes(flow: str, queue: str, tmp_path: Path) -> None:
    path = tmp_path / "spool-0.sqlite3"
    write(path, IDS[:3], queue=queue)
    ended = await Command(broker_url="amqp://guest:guest@127.0.0.1:1/", flow=flow)("spool", "send", str(tmp_path))
    assert ended.status == 1
    assert "not sent yet: 3" in ended.stdout
    assert "error: " in ended.stderr
    assert ids_in_file(path) == IDS[:3]


async def test_killed_half_way_nothing_is_lost_and_one_window_at_most_is_sent_twice(
    eventflow: Command, flow: str, queue: str, amqp: Amqp, tmp_path: Path
) -> None:
    path = tmp_path / "spool-0.sqlite3"
    ids = [f"id-{number:05}" for number in range(6000)]
    write(path, ids, queue=queue)
    await amqp.declare(ingest_specs(flow))
    first = await eventflow.start("spool", "send", str(tmp_path))

    async def more_than_a_window_arrived() -> bool:
        return await amqp.depth(queue) > WINDOW_MAX_EVENTS  # so some are confirmed, and no longer in the file

    try:
        await eventually(more_than_a_window_arrived, what="the first events in the queue")
    finally:
        first.kill()
        await first.wait()
    assert 0 < len(ids_in_file(path)) < len(ids), "it was killed half-way"
    second = await eventflow("spool", "send", str(tmp_path))
    assert second.status == 0, second.stderr
    arrived = await ids_in(amqp, queue)
    assert set(arrived) == set(ids)
    assert len(arrived) - len(ids) <= WINDOW_MAX_EVENTS
