"""A history as a version leaves it: the file of SQLite with its rows, and the steps of both schemas."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aio_pika
import aiohttp

from eventflow.migration import steps_in
from eventflow.topology import Lane, lane_queue
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.recorded import FIXTURES
from tests.support.services import processor
from tests.support.target import Receipt, ScriptedTarget

FLOW = "recorded_history"
"""Not that of the recorded messages: their tests delete its queues, and may run at the same time on the same broker."""

FILE_NAME = "history.sqlite3"
OUTCOMES = {"history-delivered": "delivered", "history-dead": "dead"}
"""The attempts on record: the event, and its outcome."""

ACTIONS = ("pause", "resume")
"""The operator's actions on record, in their order."""


def releases_with_history() -> list[str]:
    """Return the released versions whose history is recorded."""
    return sorted(directory.parent.name for directory in FIXTURES.glob("*/history"))


async def record_history(broker_url: str, amqp: Amqp, http: aiohttp.ClientSession, directory: Path) -> None:
    """Have a processor and an operator of this version write a history into a directory."""
    await asyncio.to_thread(directory.mkdir, parents=True)
    url = f"sqlite:///{directory / FILE_NAME}"
    for store in ("sqlite", "postgres"):
        steps = {step.name: step.sql for step in steps_in(f"eventflow.history.{store}.migrations")}
        await asyncio.to_thread(write_steps, directory / store, steps)

    def answer(receipt: Receipt) -> int:
        return 200 if receipt.id == "history-delivered" else 500

    async with ScriptedTarget(answer=answer) as target:
        service = processor(broker_url, flow=FLOW, target_url=target.url, TARGET__MAX_ATTEMPTS="1", HISTORY__URL=url)
        with service.process:
            await service.ready(http)
            await amqp.publish(
                lane_queue(FLOW, Lane.LIVE),
                *(aio_pika.Message(b'{"n": 7}', message_id=event_id) for event_id in OUTCOMES),
            )
            await service.counts(http, "eventflow_history_recorded_total", len(OUTCOMES))
            for action in ACTIONS:
                ended = await Command(broker_url=broker_url, flow=FLOW)(action, FLOW, HISTORY__URL=url)
                assert ended.status == 0, ended.stderr


def write_steps(directory: Path, steps: Mapping[str, str]) -> None:
    """Keep the steps of a schema as files."""
    directory.mkdir()
    for name, sql in steps.items():
        (directory / f"{name}.sql").write_text(sql, encoding="utf-8")
