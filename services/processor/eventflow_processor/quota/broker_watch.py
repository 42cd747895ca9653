"""Watch for lost brokers: asks the management API for statistics of the shared queues. No event depends on it."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import aiohttp
import structlog

from eventflow.clock import lease_clock
from eventflow.errors import ManagementError
from eventflow.management.api import Management
from eventflow_processor.quota.lost import TICK_S, Statistics
from eventflow_processor.quota.quota import Quota

LOOK_EVERY_S = 5.0
LOST_LOOK_EVERY_S = 1.0
"""Time between two questions while a broker is lost. As soon as it is back, its consumers count again."""

ANSWER_WITHIN_S = 2.5
"""Time for an answer. RabbitMQ 3.10 takes 1 or 2 s while a broker is silent."""

LIVE_COLUMNS = ("members", "online", "leader")
MARK_COLUMNS = ("memory", "garbage_collection", "message_bytes", "message_bytes_ready")
"""Columns that RabbitMQ writes and collects together with `consumers`. Some of them change from time to time."""

COLUMNS = (*LIVE_COLUMNS, "consumers", *MARK_COLUMNS)

log = structlog.stdlib.get_logger()


def statistics_of(queue: Mapping[str, Any]) -> Statistics | None:
    """Return the statistics of a quorum queue in the management API's form, which may contain anything. Pure.

    They are None if no broker is lost, or if nothing is known. This is so, too, if the asked broker does not see a
    majority or the leader: it may be the lost one, and may have the statistics of a leader of the past.
    """
    match queue:
        case {
            "members": list() as members,
            "online": list() as online,
            "leader": leader,
            "consumers": int() as consumers,
            "memory": int(),
        } if len(online) < len(members) < 2 * len(online) and leader in online:
            return Statistics(
                consumers=consumers,
                mark=repr([queue.get(column) for column in MARK_COLUMNS]),
                lost=frozenset(map(str, members)) - {*map(str, online)},
            )
    return None


def are_all_online(queue: Mapping[str, Any]) -> bool:
    """Whether no member of a queue in the management API's form is lost. Pure."""
    match queue:
        case {"members": list() as members, "online": list() as online}:
            return len(online) == len(members)
    return True


class LostBrokerWatch:
    """Asks for one queue after the other; while a broker is lost, for each as often as there are new statistics."""

    def __init__(self, management: Management, quotas: Mapping[str, Quota]) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            management: The management API.
            quotas: The quota of each flow, by the name of its events queue.
        """
        self._management = management
        self._quotas = quotas
        self._turn = 0
        self._lost = set[str]()  # queues with a lost broker by the latest answer

    async def run(self) -> NoReturn:
        """Ask until cancelled."""
        while True:
            try:
                async with self._management.client() as client:
                    await self._ask_regularly(client)
            except* ManagementError as errors:
                log.debug("brokers.unseen", reason=str(errors.exceptions[0]))
                await asyncio.sleep(LOST_LOOK_EVERY_S)

    async def _ask_regularly(self, client: aiohttp.ClientSession) -> NoReturn:
        """Ask on the same connections: new ones could lead to the lost broker, if its API has the same address.

        No question waits for the answer to the one before. If answers take 2 s, the lost ones would count again before
        each.
        """
        async with asyncio.TaskGroup() as asking:
            while True:
                divided = [name for name, quota in self._quotas.items() if quota.is_divided]
                self._lost.intersection_update(divided)
                for queue in self._due(divided):
                    asking.create_task(self._ask(client, queue))
                await asyncio.sleep(LOST_LOOK_EVERY_S if self._lost else LOOK_EVERY_S)

    def _due(self, queues: Sequence[str]) -> Sequence[str]:
        number = math.ceil(len(queues) * LOST_LOOK_EVERY_S / TICK_S) if self._lost else 1
        self._turn += number
        return [queues[(self._turn + each) % len(queues)] for each in range(min(number, len(queues)))]

    async def _ask(self, client: aiohttp.ClientSession, queue: str) -> None:
        asked_s = lease_clock()
        ask = partial(self._management.queue, client, queue, timeout_s=ANSWER_WITHIN_S)
        live, found = await asyncio.gather(ask(columns=LIVE_COLUMNS, is_live=True), ask(columns=COLUMNS))
        statistics = statistics_of(found)
        if are_all_online(live):
            self._quotas[queue].statistics_asked(None, asked_s=asked_s)
            self._lost.discard(queue)
        elif statistics is not None and statistics == statistics_of({**found, **live}):
            self._quotas[queue].statistics_asked(statistics, asked_s=asked_s)
            self._lost.add(queue)
            for other in self._lost - {queue}:
                self._quotas[other].still_lost(statistics.lost, asked_s=asked_s)
        # Otherwise nothing is known: the statistics are older than the loss, or the asked broker is the lost one.
