"""A rolling upgrade and the way back: services of a release and of today run together, with messages in flight."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue
from sandbox.ports import free_port
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.releases import RELEASES, unpack
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import Answer, Receipt, ScriptedTarget
from tests.support.wait import eventually

ATTRIBUTES = {
    "ce-specversion": "1.0",
    "ce-source": "/shop/7",
    "ce-type": "order.created",
    "ce-subject": "order/7",
    "ce-time": "2026-11-27T21:34:44.573Z",
    "Content-Type": "application/json; charset=utf-8",
}
DELAYS_S = "0.2,0.5"
EVENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two versions of a rolling upgrade."""

    prefix: tuple[str, ...]
    collector_module: str
    processor_module: str

    def collector(self, broker_url: str, flow: str, **settings: str) -> Service:
        return collector(broker_url, flow=flow, module=self.collector_module, prefix=self.prefix, **settings)

    def processor(self, broker_url: str, flow: str, target_url: str, **settings: str) -> Service:
        return processor(
            broker_url,
            flow=flow,
            target_url=target_url,
            module=self.processor_module,
            prefix=self.prefix,
            TARGET__RETRY_DELAYS_S=DELAYS_S,
            **settings,
        )


TODAY = Side(prefix=(), collector_module="eventflow_collector", processor_module="eventflow_processor")


@pytest.fixture(params=RELEASES)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    release = RELEASES[request.param]
    return Side(
        prefix=unpack(release, tmp_path / "release"),
        collector_module=release.collector,
        processor_module=release.processor,
    )


@pytest.fixture(params=["upgrade", "way back"])
def sides(request: pytest.FixtureRequest, released: Side) -> tuple[Side, Side]:
    """The side that writes, and the one that reads."""
    return (released, TODAY) if request.param == "upgrade" else (TODAY, released)


async def post(http: aiohttp.ClientSession, service: Service, ids: Iterable[str]) -> None:
    for event_id in ids:
        headers = {"X-Api-Key": API_KEY, "ce-id": event_id, **ATTRIBUTES}
        async with http.post(service.url, data=b'{"n": 7}', headers=headers) as answer:
            assert answer.status == 202, await answer.text()


def assert_sent_on(receipt: Receipt) -> None:
    assert receipt.body == b'{"n": 7}'
    assert {name: receipt.headers.get(name) for name in ATTRIBUTES} == ATTRIBUTES


async def test_events_of_one_version_are_delivered_by_the_other(
    broker_url: str, flow: str, http: aiohttp.ClientSession, target: ScriptedTarget, sides: tuple[Side, Side]
) -> None:
    writer, reader = sides
    ids = [f"event-{number}" for number in range(EVENTS)]
    accepting, delivering = writer.collector(broker_url, flow), reader.processor(broker_url, flow, target.url)
    with accepting.process, delivering.process:
        await accepting.ready(http)
        await delivering.ready(http)
        await post(http, accepting, ids)
        await eventually(
            lambda: set(ids) <= {receipt.id for receipt in target.taken},
            what=lambda: f"all of them:\n{delivering.output}",
        )
    for event_id in ids:
        (receipt,) = target.of(event_id)
        assert_sent_on(receipt)


async def test_copies_and_dead_letters_of_one_version_are_delivered_by_the_other(
    broker_url: str,
    flow: str,
    http: aiohttp.ClientSession,
    target: ScriptedTarget,
    amqp: Amqp,
    sides: tuple[Side, Side],
) -> None:
    """The first version fails. The second one continues its count of attempts, also after a replay by our command."""
    writer, reader = sides
    fails = True

    async def answer(receipt: Receipt) -> Answer:
        return 500 if fails else 200

    target.answer = answer
    accepting = TODAY.collector(broker_url, flow)
    failing = writer.processor(broker_url, flow, target.url, TARGET__MAX_ATTEMPTS="2")
    with accepting.process, failing.process:
        await accepting.ready(http)
        await failing.ready(http)
        await post(http, accepting, ["dead-1"])
        await eventually(lambda: len(target.of("dead-1")) == 2, what=lambda: f"two attempts:\n{failing.output}")
    retrying = writer.processor(broker_url, flow, target.url)
    with accepting.process, retrying.process:
        await accepting.ready(http)
        await retrying.ready(http)
        await post(http, accepting, ["retry-1"])
        await eventually(lambda: len(target.of("retry-1")) >= 2, what=lambda: f"two attempts:\n{retrying.output}")
    failed = len(target.of("retry-1"))
    fails = False
    assert (await Command(broker_url=broker_url, flow=flow)("dead", "replay", "--all")).status == 0
    delivering = reader.processor(broker_url, flow, target.url)
    with delivering.process:
        await eventually(
            lambda: len(target.of("dead-1")) == 3 and len(target.of("retry-1")) > failed,
            what=lambda: f"both:\n{delivering.output}",
        )
    assert target.of("retry-1")[-1].headers["eventflow-attempt"] == str(failed + 1)
    assert_sent_on(target.of("retry-1")[-1])
    assert_sent_on(target.of("dead-1")[-1])
    assert await amqp.depth(lane_queue(flow, Lane.DUE)) == 0


async def test_spool_files_of_one_version_are_sent_by_the_other(
    broker_url: str,
    flow: str,
    http: aiohttp.ClientSession,
    amqp: Amqp,
    tmp_path: Path,
    sides: tuple[Side, Side],
) -> None:
    """One collector was stopped and one was killed while the broker was away; the other version finds their files."""
    writer, reader = sides
    spool = tmp_path / "spool"
    nowhere = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    stopped, killed = (writer.collector(nowhere, flow, COLLECTOR__SPOOL_DIR=str(spool)) for _ in range(2))
    with stopped.process, killed.process:
        for name, service in (("stopped", stopped), ("killed", killed)):
            await service.ready(http)
            await post(http, service, [f"{name}-{number}" for number in range(EVENTS)])
        killed.process.kill()
    await amqp.declare_flow(flow)
    sending = reader.collector(broker_url, flow, COLLECTOR__SPOOL_DIR=str(spool))
    with sending.process:
        await sending.ready(http)

        async def all_there() -> bool:
            return await amqp.depth(lane_queue(flow, Lane.LIVE)) == 2 * EVENTS

        await eventually(all_there, what=lambda: f"all events:\n{sending.output}")
    messages = await amqp.drain(lane_queue(flow, Lane.LIVE))
    ids = {str(message.headers["cloudEvents:id"]) for message in messages}
    assert ids == {f"{name}-{number}" for name in ("stopped", "killed") for number in range(EVENTS)}
    assert {message.body for message in messages} == {b'{"n": 7}'}
    assert {message.headers["cloudEvents:subject"] for message in messages} == {"order/7"}


async def test_processors_of_both_versions_share_the_quota_and_its_pauses(
    broker_url: str, flow: str, http: aiohttp.ClientSession, target: ScriptedTarget, released: Side
) -> None:
    settings = {"TARGET__RATE_PER_S": "20"}
    command = Command(broker_url=broker_url, flow=flow)
    both = [side.processor(broker_url, flow, target.url, **settings) for side in (TODAY, released)]
    with both[0].process, both[1].process:
        for service in both:
            await service.ready(http)
        for service in both:
            await service.counts(http, "eventflow_processors", 2)
            await service.counts(http, "eventflow_rate_share_units_per_second", 10)
        assert (await command("pause", flow)).status == 0
        for service in both:
            await logs(service, "flow.paused")
        assert (await command("resume", flow)).status == 0
        assert (await command("rate", "set", flow, "10")).status == 0
        for service in both:
            await logs(service, "flow.resumed")
            await service.counts(http, "eventflow_rate_limit_units_per_second", 10)
        status = await command("status", "--json")
        assert status.status == 0, status.stdout
        assert json.loads(status.stdout)["flows"]


async def logs(service: Service, event: str) -> None:
    """Wait for a line of the log; 0.1.0 has no metric of a pause."""
    await eventually(lambda: bool(service.logged(event)), what=lambda: f"{event}:\n{service.output}")
