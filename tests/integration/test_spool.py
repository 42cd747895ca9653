"""The spool with real processes, a real broker and a real disk: whatever is answered 202 arrives."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from eventflow import __version__
from eventflow.topology import Lane, ingest_specs, lane_queue
from sandbox.broker.line import Line
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.load import Load
from tests.support.nodes import memory_alarm
from tests.support.running_time import running_s
from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

AT_ONCE_S = 1.0
"""Half of the time that an event waits for a confirm if it is not kept at once."""

GARBAGE = b"not a database, by far" * 1000


@pytest.fixture
async def line(broker_url: str) -> AsyncIterator[Line]:
    """The way to the broker that all tests share, which a test may cut."""
    async with Line(broker_url) as one:
        yield one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system takes root")
    yield place
    subprocess.run(["umount", place], check=True)


def spooling(broker_url: str, flow: str, directory: Path, **settings: str) -> Service:
    """Prepare a collector that waits for a confirm as long as by default."""
    impatient = {"COLLECTOR__CONFIRM_TIMEOUT_S": "2"} | settings
    return collector(broker_url, flow=flow, COLLECTOR__SPOOL_DIR=str(directory), **impatient)


async def post(service: Service, http: aiohttp.ClientSession, event_id: str, body: bytes = b"{}") -> tuple[int, float]:
    """Post an event; return the status and the seconds that it took."""
    began = asyncio.get_running_loop().time()
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
    async with http.post(service.url, data=body, headers=headers) as answer:
        assert answer.status == 202 or (answer.status, bool(answer.headers["Retry-After"])) == (503, True)
        return answer.status, asyncio.get_running_loop().time() - began


async def readiness(service: Service, http: aiohttp.ClientSession) -> tuple[int, dict]:
    async with http.get(f"{service.admin_url}/readyz") as answer:
        return answer.status, await answer.json()


async def broker_seen(service: Service, http: aiohttp.ClientSession, state: str) -> None:
    async def seen() -> bool:
        try:
            return (await readiness(service, http))[1]["broker"] == state
        except aiohttp.ClientError:
            return False

    await eventually(seen, what=lambda: f"broker {state}:\n{service.output}")


async def drained(service: Service, http: aiohttp.ClientSession, *, within_s: float = 20) -> None:
    await service.counts(http, "eventflow_spool_events", 0, within_s=within_s)
    assert await service.metric(http, "eventflow_spool_bytes") == 0
    assert await service.metric(http, "eventflow_spool_oldest_seconds") == 0


async def arrived(amqp: Amqp, flow: str) -> list[str]:
    """Take the ids of the events that have reached the queue, in order."""
    return [message.headers["cloudEvents:id"] for message in await amqp.drain(lane_queue(flow, Lane.LIVE))]


async def test_broker_killed_events_are_taken_and_sent_in_order_when_it_is_back(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(node.url, flow, tmp_path / "spool")
    with service.process:
        await broker_seen(service, http, "up")
        await asyncio.to_thread(node.kill)
        await broker_seen(service, http, "down")
        numbered = [f"event-{number}" for number in range(300)]
        body = b"\x00any\xff" * 500
        answers = [await post(service, http, event_id, body) for event_id in numbered]
        assert {status for status, _ in answers} == {202}
        assert sorted(seconds for _, seconds in answers)[-3] < AT_ONCE_S

        await service.counts(http, "eventflow_spool_events", 300)
        assert 300 * len(body) < await service.metric(http, "eventflow_spool_bytes") < 600 * len(body)
        assert await service.metric(http, "eventflow_spool_oldest_seconds") > 0
        assert await service.metric(http, "eventflow_events_spooled_total") == 300
        assert await service.metric(http, "eventflow_events_accepted_total") == 300
        assert await readiness(service, http) == (
            200,
            {
                "ready": True,
                "version": __version__,
                "stopping": False,
                "broker": "down",
                "spool": "spooling",
                "spooling": True,
            },
        )
        await asyncio.to_thread(node.start)
        await drained(service, http)
        async with Amqp(node.url) as amqp:
            messages = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert [message.headers["cloudEvents:id"] for message in messages] == numbered
    assert {message.body for message in messages} == {body}
    assert len({message.message_id for message in messages}) == 300
    assert service.process.returncode == 0


async def test_what_is_spooled_is_exactly_what_would_have_been_published(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    headers = {
        "X-Api-Key": API_KEY,
        "ce-specversion": "1.0",
        "ce-id": "ünï-1",
        "ce-source": "/any" * 500,
        "ce-subject": "%E2%80%AF.png",
        "ce-dataschema": "urn:any",
        "ce-mytag": "any",
        "X-Any": "forwarded",
        "ce-type": "thing.happened",
        "ce-time": "2025-07-13T21:34:44.573Z",
        "Content-Type": "text/x-any; charset=utf-8",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    of_source = f"FLOWS__{flow.upper()}__SOURCE__"
    forwarding = {f"{of_source}FORWARD_HEADERS": "X-Any", f"{of_source}FORWARD_QUERY": "true"}
    service = spooling(line.url, flow, tmp_path, **forwarding)
    with service.process:
        await broker_seen(service, http, "up")
        for cut in (False, True):
            if cut:
                await line.cut()
                await broker_seen(service, http, "down")
            async with http.post(f"{service.url}?a=%20b", data=b"\x00\xff", headers=headers) as answer:
                assert (answer.status, await answer.json()) == (202, {"id": "ünï-1"})
        await line.mend()
        await drained(service, http)
    published, spooled = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert published.body == spooled.body
    assert published.content_type == spooled.content_type
    assert published.delivery_mode == spooled.delivery_mode
    assert published.message_id != spooled.message_id
    assert published.headers.pop("eventflow-accepted-at") < spooled.headers.pop("eventflow-accepted-at")
    assert published.headers == spooled.headers


async def test_collector_killed_while_it_spools_and_while_it_drains_loses_nothing(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await amqp.declare(ingest_specs(flow))
    await line.cut()
    service = spooling(line.url, flow, tmp_path)
    with service.process:
        await broker_seen(service, http, "down")
        load = Load(service.url, 300)
        load.start()
        for kills in range(1, 4):
            await eventually(lambda kills=kills: len(load.accepted) >= 250 * kills, what=lambda: str(load))
            service.process.kill()
            service.process.start()
            await broker_seen(service, http, "down")
        await load.stop()
        await line.mend()

        async def some_arrived() -> bool:
            return await amqp.depth(lane_queue(flow, Lane.LIVE)) > 0

        await eventually(some_arrived, what="the first of them in the queue")
        service.process.kill()
        service.process.start()
        await broker_seen(service, http, "up")
        await drained(service, http)
    ids = await arrived(amqp, flow)
    assert load.accepted <= set(ids)
    assert set(load.refused) == set()
    assert len(ids) - len(set(ids)) <= 256, "at most one window of the spool's sender"


@pytest.mark.timed
async def test_broker_frozen_under_load_late_confirms_empty_the_spool_without_duplicates(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(node.url, flow, tmp_path)
    with service.process:
        await broker_seen(service, http, "up")
        load = Load(service.url, 200)
        load.start()
        await eventually(lambda: len(load.accepted) > 200, what="load")
        node.pause()
        async with asyncio.timeout(20):
            while await service.metric(http, "eventflow_spool_events") < 8 * 200 - 200:
                slowest_s, load.slowest_s = load.slowest_s, 0.0
                await asyncio.sleep(0.5)
        assert slowest_s < 1, "once the broker is known to be frozen nobody waits for it"
        assert (await readiness(service, http))[0] == 200
        node.resume()
        await drained(service, http)
        await load.stop()
        await drained(service, http)
        async with Amqp(node.url) as amqp:
            ids = await arrived(amqp, flow)
    assert len(load.accepted) > 1600
    assert not load.refused
    assert load.accepted == set(ids)
    assert len(ids) - len(set(ids)) < len(ids) / 100
    assert "Traceback" not in service.output


@pytest.mark.timed
async def test_a_late_confirm_deletes_the_event(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(node.url, flow, tmp_path, COLLECTOR__CONFIRM_TIMEOUT_S="3")
    with service.process:
        await broker_seen(service, http, "up")
        node.pause()
        status, seconds = await post(service, http, "late")
        assert status == 202
        assert seconds > 3
        assert await post(service, http, "straight") < (202, 1.5)
        node.resume()
        await drained(service, http)
        async with Amqp(node.url) as amqp:
            assert sorted(await arrived(amqp, flow)) == ["late", "straight"]


async def test_events_are_spooled_at_once_during_a_memory_alarm(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(node.url, flow, tmp_path)
    with service.process:
        await broker_seen(service, http, "up")
        async with memory_alarm(node):
            assert (await post(service, http, "first"))[0] == 202  # RabbitMQ informs only those that publish
            await broker_seen(service, http, "blocked")
            for number in range(10):
                began_s = running_s()
                assert (await post(service, http, f"blocked-{number}"))[0] == 202
                assert running_s() - began_s < AT_ONCE_S
            assert (await readiness(service, http))[0] == 200
        await drained(service, http)
        async with Amqp(node.url) as amqp:
            assert sorted(await arrived(amqp, flow)) == [*(f"blocked-{number}" for number in range(10)), "first"]


async def test_an_event_whose_queue_is_missing_is_spooled_and_sent_once_it_is_back(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(broker_url, flow, tmp_path)
    with service.process:
        await broker_seen(service, http, "up")
        await amqp.delete(lane_queue(flow, Lane.LIVE))
        assert {status for status, _ in await asyncio.gather(*(post(service, http, f"{n}") for n in range(10)))} == {
            202
        }
        await drained(service, http)
    assert sorted(await arrived(amqp, flow)) == [str(number) for number in range(10)]


async def test_a_full_spool_answers_503_until_it_is_drained(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(line.url, flow, tmp_path, COLLECTOR__SPOOL_MAX_BYTES="200000")
    with service.process:
        await broker_seen(service, http, "up")
        await line.cut()
        await broker_seen(service, http, "down")
        answers = {f"{number}": (await post(service, http, f"{number}", b"x" * 3000))[0] for number in range(100)}
        kept = [event_id for event_id, status in answers.items() if status == 202]
        assert 30 < len(kept) < 70

        async def refusing() -> bool:
            status, document = await readiness(service, http)
            return (status, document["spool"], document["spooling"]) == (503, "full", False)

        await eventually(refusing, what="not ready")
        assert sum(path.stat().st_size for path in spool_files(tmp_path)) <= 200_000
        await line.mend()
        await drained(service, http)
        assert (await post(service, http, "after"))[0] == 202
        assert (await readiness(service, http))[0] == 200
    assert await arrived(amqp, flow) == [*kept, "after"]
    assert "spool.full" in service.output


@pytest.mark.parametrize("filled_by", ["the spool", "somebody else"])
async def test_a_full_disk_answers_503_and_loses_nothing(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, small_disk: Path, filled_by: str
) -> None:
    service = spooling(line.url, flow, small_disk / "spool")
    with service.process:
        await broker_seen(service, http, "up")
        await line.cut()
        await broker_seen(service, http, "down")
        kept = []
        for number in range(300):
            if number == 50 and filled_by == "somebody else":
                fill(small_disk / "other")
            status, _ = await post(service, http, f"{number}", b"x" * 20_000)
            if status == 202:
                kept.append(f"{number}")
        assert 20 <= len(kept) < 250
        service.process.kill()
        service.process.start()
        await broker_seen(service, http, "down")
        await line.mend()

        async def all_arrived() -> bool:
            return await amqp.depth(lane_queue(flow, Lane.LIVE)) >= len(kept)

        await eventually(all_arrived, what=lambda: f"{len(kept)} events in the queue:\n{service.output}")
        (small_disk / "other").unlink(missing_ok=True)  # deleting takes room too
        await drained(service, http)
    assert set(kept) <= set(await arrived(amqp, flow))
    [file] = spool_files(small_disk / "spool")
    assert integrity(file) == "ok"


def spool_files(directory: Path, pattern: str = "spool-*.sqlite3") -> list[Path]:
    return sorted(directory.glob(pattern))


def integrity(path: Path) -> str:
    """Return SQLite's own verdict on a file that nobody uses."""
    connection = sqlite3.connect(path)
    [verdict] = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return verdict


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


async def test_a_corrupted_file_is_moved_aside_and_a_new_one_takes_events(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "spool-0.sqlite3").write_bytes(GARBAGE)
    await amqp.declare(ingest_specs(flow))
    await line.cut()
    service = spooling(line.url, flow, tmp_path)
    with service.process:
        await broker_seen(service, http, "down")
        assert (await post(service, http, "kept"))[0] == 202
        assert await service.metric(http, "eventflow_spool_corrupted_files_total") == 1
        await line.mend()
        await drained(service, http)
    assert await arrived(amqp, flow) == ["kept"]
    [aside] = spool_files(tmp_path, "spool-0.sqlite3.corrupt-*")
    assert aside.read_bytes() == GARBAGE
    [told] = [line for line in service.output.splitlines() if "spool.file_corrupted" in line]
    assert json.loads(told)["level"] == "error"


async def test_each_worker_has_a_file_and_the_files_of_dead_and_removed_workers_are_adopted(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await amqp.declare(ingest_specs(flow))
    await line.cut()
    accepted: set[str] = set()

    async def send(service: Service, name: str) -> None:
        for number in range(40):  # a connection each, so that every worker gets some
            async with aiohttp.ClientSession() as fresh:
                assert (await post(service, fresh, f"{name}-{number}"))[0] == 202
            accepted.add(f"{name}-{number}")

    two = spooling(line.url, flow, tmp_path, COLLECTOR__WORKERS="2")
    with two.process:

        async def both_spool() -> bool:
            if await two.readyz(http) != 200:
                return False
            status, document = await readiness(two, http)
            return (status, document["ready_workers"], document["spooling"]) == (200, 2, True)

        await eventually(both_spool, what="both workers ready")
        await send(two, "two")
        await two.counts(http, "eventflow_spool_events", 40)
        assert [path.name for path in spool_files(tmp_path)] == ["spool-0.sqlite3", "spool-1.sqlite3"]
        started = next(json.loads(line) for line in two.output.splitlines() if "worker.started" in line)
        os.kill(started["pid"], signal.SIGKILL)
        await eventually(lambda: two.output.count("worker.started") == 3, what="a third worker")
        await eventually(both_spool, what="both workers ready again")
        await two.counts(http, "eventflow_spool_events", 40)
        await send(two, "killed")
        await two.counts(http, "eventflow_spool_events", 80)
    assert two.process.returncode == 0

    one = spooling(line.url, flow, tmp_path, COLLECTOR__WORKERS="1")
    with one.process:
        await spooled_by_one(one, http, 80)
        await line.mend()
        await drained(one, http)
        await eventually(
            lambda: [path.name for path in spool_files(tmp_path)] == ["spool-0.sqlite3"],
            what="the adopted file removed",
        )
    assert sorted(await arrived(amqp, flow)) == sorted(accepted)


async def spooled_by_one(service: Service, http: aiohttp.ClientSession, events: int) -> None:
    """Wait until a process that has just started holds so many events."""

    async def counted() -> bool:
        return await service.readyz(http) == 200 and await service.metric(http, "eventflow_spool_events") == events

    await eventually(counted, what=lambda: f"{events} events in the spool:\n{service.output}")
