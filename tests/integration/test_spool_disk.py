"""The spool on a disk that hangs, lies or fails: a collector whose spool is of no use goes on as one without.

Reproduced on 0.1.0 with the same library: a `flock` that hangs froze the collector, /livez too (e2b-dev/infra#3619);
one that always fails with EAGAIN made 378 000 lock files in six seconds, and SIGTERM was ignored (mmx-node#262); an
`fsync` that hangs left requests without an answer, and the collector without an end.
"""

import asyncio
import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, ingest_specs, lane_queue
from sandbox.broker.line import Line
from tests.support.amqp import Amqp
from tests.support.disk import FaultyDisk
from tests.support.running_time import running_s
from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

ANSWERS_WITHIN_S = 5.0
"""Webhook senders give up after about this time."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    one = FaultyDisk(tmp_path / "faults", files=tmp_path / "spool")
    yield one
    one.heal()


@pytest.fixture
async def line(broker_url: str, flow: str, amqp: Amqp) -> AsyncIterator[Line]:
    """The way to the broker, which a test may cut; the flow's queues are there."""
    await amqp.declare(ingest_specs(flow))
    async with Line(broker_url) as one:
        yield one


def spooling(url: str, flow: str, tmp_path: Path, disk: FaultyDisk, **settings: str) -> Service:
    return collector(url, flow=flow, variables=disk.variables, COLLECTOR__SPOOL_DIR=str(tmp_path / "spool"), **settings)


async def post(service: Service, http: aiohttp.ClientSession, event_id: str) -> tuple[int, float]:
    """Post an event; return the status and the seconds that it took."""
    began_s = running_s()
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
    async with http.post(service.url, data=b"{}", headers=headers) as answer:
        return answer.status, running_s() - began_s


async def comes_to(service: Service, http: aiohttp.ClientSession, **expected: object) -> None:
    """Wait until /readyz says what is expected."""

    async def has_come() -> bool:
        try:
            return expected.items() <= (await service.readiness(http)).items()
        except aiohttp.ClientError:
            return False

    await eventually(has_come, what=lambda: f"{expected}:\n{service.output}")


async def arrived(amqp: Amqp, flow: str, events: int) -> list[str]:
    """Wait until so many events are in the queue, and take their ids."""
    queue = lane_queue(flow, Lane.LIVE)
    found: list[str] = []

    async def enough() -> bool:
        found.extend(message.headers["cloudEvents:id"] for message in await amqp.drain(queue))
        return len(found) >= events

    await eventually(enough, what=lambda: f"{events} events, not {found}")
    return found


@asynccontextmanager
async def stopping_in_time(service: Service) -> AsyncIterator[None]:
    """Run a service, which must then end in order in bounded time."""
    with service.process:
        yield
        began_s = running_s()
        assert await asyncio.to_thread(service.process.stop, 30) == 0, service.output
        assert running_s() - began_s < 10
    assert "Traceback" not in service.output, service.output


@pytest.mark.parametrize("call", ["flock", "open", "statvfs", "fsync"])
async def test_a_disk_that_hangs_at_the_start_costs_nothing_while_the_broker_is_there(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path, disk: FaultyDisk, call: str
) -> None:
    disk.hang(call)
    service = spooling(line.url, flow, tmp_path, disk)
    async with stopping_in_time(service):
        await comes_to(service, http, status=200, broker="up", spool="stuck")
        assert await service.metric(http, "eventflow_spool_failing") == 1
        assert (await post(service, http, "published"))[0] == 202
        await line.cut()
        await comes_to(service, http, status=503, broker="down", spool="stuck")
        status, seconds = await post(service, http, "refused")
        assert (status, seconds < ANSWERS_WITHIN_S) == (503, True)
        disk.heal()
        await comes_to(service, http, status=200, broker="down")
        assert await service.metric(http, "eventflow_spool_failing") == 0
        assert (await post(service, http, "spooled"))[0] == 202
        await line.mend()
        assert await arrived(amqp, flow, 2) == ["published", "spooled"]


@pytest.mark.parametrize("call", ["flock", "fsync"])
async def test_a_collector_ends_in_time_while_its_disk_hangs(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path, disk: FaultyDisk, call: str
) -> None:
    disk.hang(call)
    service = spooling(broker_url, flow, tmp_path, disk, COLLECTOR__WORKERS="2")
    async with stopping_in_time(service):
        await comes_to(service, http, status=200, ready_workers=2)


@pytest.mark.timed
async def test_a_disk_that_hangs_while_it_is_needed_answers_503_in_time_and_what_was_refused_is_not_sent(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path, disk: FaultyDisk
) -> None:
    await line.cut()
    service = spooling(line.url, flow, tmp_path, disk)
    async with stopping_in_time(service):
        await comes_to(service, http, broker="down", spool="spooling")
        assert (await post(service, http, "before"))[0] == 202
        disk.hang("fsync")
        answers = await asyncio.gather(*(post(service, http, f"hung-{number}") for number in range(20)))
        assert {status for status, _ in answers} == {503}
        assert max(seconds for _, seconds in answers) < ANSWERS_WITHIN_S
        await comes_to(service, http, status=503, spool="stuck")
        status, seconds = await post(service, http, "stuck")
        assert (status, seconds < 1) == (503, True), "known by now, and not waited for"
        async with http.get(f"{service.admin_url}/livez") as answer:
            assert answer.status == 200
        disk.heal()
        await comes_to(service, http, status=200, spool="spooling")
        assert (await post(service, http, "after"))[0] == 202
        await line.mend()
        assert await arrived(amqp, flow, 2) == ["before", "after"]
        assert await service.metric(http, "eventflow_events_spooled_total") == 2
        await comes_to(service, http, spool="empty")


async def test_what_was_spooled_before_the_disk_hung_arrives_after_the_next_start(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path, disk: FaultyDisk
) -> None:
    await line.cut()
    service = spooling(line.url, flow, tmp_path, disk)
    async with stopping_in_time(service):
        await comes_to(service, http, broker="down", spool="spooling")
        assert (await post(service, http, "kept"))[0] == 202
        disk.hang("fsync", "flock", "open", "statvfs")
        assert (await post(service, http, "refused"))[0] == 503
    disk.heal()
    await line.mend()
    async with stopping_in_time(service):
        await service.ready(http)
        assert "kept" in await arrived(amqp, flow, 1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (("flock", errno.EAGAIN), "refuses every lock"),
        (("flock", errno.ENOSYS), "not implemented"),
        (("flock", 0), "grants a lock (flock) twice"),
        (("open", errno.EROFS), "Read-only file system"),
    ],
)
async def test_a_disk_that_can_never_be_used_ends_the_start_with_one_line(
    broker_url: str, flow: str, tmp_path: Path, disk: FaultyDisk, fault: tuple[str, int], reason: str
) -> None:
    call, error = fault
    if error:
        disk.fail(call, error)
    else:
        disk.lie(call)
    service = spooling(broker_url, flow, tmp_path, disk, TELEMETRY__LOG_LEVEL="error")
    service.process.start()
    assert await asyncio.to_thread(service.process.wait, 20) == 78, service.output
    [line] = service.output.splitlines()
    assert line.startswith("EVENTFLOW_COLLECTOR__SPOOL_DIR = ")
    assert reason in line
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.ENOTCONN])
async def test_a_disk_that_fails_at_the_start_is_tried_again_and_the_collector_serves_meanwhile(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path, disk: FaultyDisk, error: int
) -> None:
    disk.fail("open", error)
    service = spooling(line.url, flow, tmp_path, disk)
    async with stopping_in_time(service):
        await comes_to(service, http, status=200, broker="up", spool="full")
        assert await service.metric(http, "eventflow_spool_failing") == 1
        assert (await post(service, http, "published"))[0] == 202
        disk.heal()
        await comes_to(service, http, status=200, spool="empty")
        await line.cut()
        await comes_to(service, http, status=200, broker="down")
        assert (await post(service, http, "spooled"))[0] == 202
        await line.mend()
        assert await arrived(amqp, flow, 2) == ["published", "spooled"]


async def test_the_start_logs_where_the_spool_is_and_how_much_room_it_has(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Reproduced on 0.1.0: five events answered 202 went to a spool that no log line named (docker/cli#4665)."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        for directory, is_volatile in ((tmp_path / "spool", False), (Path(memory), True)):
            service = collector(broker_url, flow=flow, COLLECTOR__SPOOL_DIR=str(directory))
            with service.process:
                await service.ready(http)
            lines = [json.loads(text) for text in service.output.splitlines() if text.startswith("{")]
            [opened] = [line for line in lines if line["event"] == "spool.opened"]
            assert opened["directory"] == str(directory)
            assert 0 < opened["room_bytes"] <= opened["max_bytes"] == 1024**3
            warned = [line["reason"] for line in lines if line["event"] == "spool.directory_volatile"]
            if is_volatile:
                assert warned == ["tmpfs is memory: its files are gone after a restart"]


CLAIM = """
import os, sys
from pathlib import Path
from eventflow_collector.spool.directory import SpoolDirectory
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
directory = SpoolDirectory(Path(sys.argv[1]), max_bytes=10**9)
print(directory.claim_own().path.name, [claim.path.name for claim in directory.files.claim_abandoned()])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
@pytest.mark.parametrize("left", ["spool-0.lock", "spool-0.sqlite3"])
def test_a_file_that_another_user_left_is_passed_over_with_a_warning(left: str) -> None:
    """Reproduced on 0.1.0: root's spool-0.lock, and a collector that now runs as another user, ended in exit 1."""
    with tempfile.TemporaryDirectory(prefix="eventflow-", dir="/tmp") as directory:
        (Path(directory) / left).touch(mode=0o600)
        os.chown(directory, 65534, 65534)
        done = subprocess.run([sys.executable, "-c", CLAIM, directory], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "spool-1.sqlite3 []"
    assert done.stdout.count("spool.file_skipped") == 1


WITHOUT_THREADS = """
import asyncio, os, resource
from pathlib import Path
from eventflow_collector.spool.directory import SpoolDirectory
from eventflow.spool.store import SpoolUnavailableError
from eventflow_collector.spool.thread import on_thread
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
async def main():
    try:
        await on_thread(os.getpid, name="one")
    except SpoolUnavailableError as error:
        print(error)
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_a_limit_of_processes_is_a_spool_that_is_not_there_now() -> None:
    """A container's limit of processes must not end a collector that publishes."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_THREADS], capture_output=True, text=True, check=True)
    assert done.stdout == "no thread can be started\n"
