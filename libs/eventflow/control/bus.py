"""What the processors of a flow tell each other, and what an operator tells them.

Processors speak over one fanout exchange and have an exclusive queue each. A fanout keeps nothing for those who join
later, so whoever has something to say repeats it every second. Nothing of it is needed for not losing an event: who
hears nothing acts on what it sees itself.

An operator's orders are kept in a stream per flow, whose last message counts. A processor that could not hear of an
order must not go on, so it asks over its control connection every second whether that still works.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import structlog

from eventflow.amqp.channel import open_channel, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.fanout import consume_fanout, declare_fanout
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import declare_queues, measure
from eventflow.amqp.session import keep_connected
from eventflow.amqp.streams import follow_stream
from eventflow.control.overrides import InvalidOverridesError, Overrides, decode_overrides
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import first_of
from eventflow.topology import CONTROL_EXCHANGE, control_queue, overrides_queue, overrides_spec

ANNOUNCE_EVERY_S = 1.0
ANNOUNCEMENT_MAX_BYTES = 4096
LISTEN_POLL_S = 1.0
LOST_AFTER_S = 3.0
"""How long after the beginning of the last good look the control connection counts as working; as long as the lease."""

NO_ORDER_S = 0.2
"""How long a start waits for an order where the broker has counted none, as for 5 s after its start."""

log = structlog.stdlib.get_logger()

Announcement = dict[str, Any]
"""A JSON object; times in it are seconds from now, since clocks differ."""


class ControlBus:
    """One processor's ear and voice."""

    def __init__(self, urls: Sequence[str], *, instance: str, publisher: Publisher) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            instance: Names this processor among its peers; at most 200 bytes.
            publisher: Speaks for us, on its own connection: nothing is published on a consuming one.
        """
        self._urls = urls
        self._publisher = publisher
        self._listeners: defaultdict[str, list[Callable[[Announcement], None]]] = defaultdict(list)
        self._followers: defaultdict[str, list[Callable[[Overrides], None]]] = defaultdict(list)
        self._ordered: set[str] = set()  # flows whose followers know what holds
        self._watchers: list[Callable[[bool], None]] = []
        self._found, self._lost = asyncio.Event(), asyncio.Event()
        self._lost.set()
        self._losing: asyncio.TimerHandle | None = None
        self._sessions = 0
        self.instance = instance

    @property
    def is_lost(self) -> bool:
        """Whether no order can be heard: no good look at the control connection for 3 s, or none yet.

        It is lost as well while the broker refuses to take what this processor would publish.
        """
        return self._lost.is_set()

    def on_connection_change(self, watcher: Callable[[bool], None]) -> None:
        """Call `watcher` too whenever the control connection is lost (True) or found (False); it starts as lost.

        It is found again only after the orders that hold have been followed anew.
        """
        self._watchers.append(watcher)

    async def found(self) -> None:
        """Wait until orders can be heard."""
        await self._found.wait()

    async def lost_for(self, seconds: float) -> None:
        """Wait until the control connection has been lost for so long without a break."""
        while True:
            await self._lost.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._found.wait()
                continue
            return

    def on_peer_message(self, flow: str, listener: Callable[[Announcement], None]) -> None:
        """Call `listener` too with every announcement of a peer about `flow`."""
        self._listeners[flow].append(listener)

    def on_overrides(self, flow: str, follower: Callable[[Overrides], None]) -> None:
        """Call `follower` too with an operator's orders for `flow`: what holds at each connect, then each change."""
        self._followers[flow].append(follower)

    def broadcast(self, flow: str, announcement: Announcement) -> None:
        """Tell the peers, if the broker can be used now; it is repeated anyway."""
        text = json.dumps({**announcement, "flow": flow, "from": self.instance})
        try:
            self._publisher.broadcast(text.encode(), exchange=CONTROL_EXCHANGE)
        except BrokerUnavailableError as error:
            log.debug("control.unheard", flow=flow, reason=str(error))

    async def run(self) -> None:
        """Stay connected and listen for ever."""
        await keep_connected(self._urls, name=f"{self.instance} control", session=self._session)

    async def _session(self, connection: Connection) -> None:
        await self._publisher.may_publish()
        channel = await open_channel(connection)
        await declare_fanout(channel, CONTROL_EXCHANGE)
        # A name of its own: the broker may hold the queue of a lost connection until two heartbeats are missed.
        self._sessions += 1
        queue = control_queue(self.instance if self._sessions == 1 else f"{self.instance}.{self._sessions}")
        await consume_fanout(channel, queue, exchange=CONTROL_EXCHANGE, on_body=self._hear)
        follow_ends = await asyncio.gather(*(self._follow(connection, flow) for flow in self._followers))
        look = partial(measure, channel, queue)
        await first_of(until_closed(channel), self._listen(look), *(ended() for ended in follow_ends))

    async def _listen(self, look: Callable[[], Awaitable[object]]) -> NoReturn:
        """Look every second whether the broker still answers on the connection that brings the orders."""
        while True:
            began_s = asyncio.get_running_loop().time()
            await look()
            if self._publisher.state != "refused":
                self._works_since(began_s)
            await asyncio.sleep(LISTEN_POLL_S)

    def _works_since(self, began_s: float) -> None:
        """Take the connection for working until 3 s after the beginning of a good look."""
        if self._losing is not None:
            self._losing.cancel()
        self._losing = asyncio.get_running_loop().call_at(began_s + LOST_AFTER_S, self._lose)
        if self.is_lost:
            self._lost.clear()
            self._found.set()
            log.info("control.found")
            self._notify()

    def _lose(self) -> None:
        log.warning("control.lost", silent_s=LOST_AFTER_S, action="sending nothing until orders can be heard again")
        self._found.clear()
        self._lost.set()
        self._notify()

    def _notify(self) -> None:
        for watcher in self._watchers:
            watcher(self.is_lost)

    async def _follow(self, connection: Connection, flow: str) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
        """Start to follow the orders for a flow; returns what waits for the end of it."""

        def obey(body: bytes) -> None:
            try:
                self._obey(flow, decode_overrides(body))
            except InvalidOverridesError as error:
                log.error("control.order_not_understood", flow=flow, reason=str(error))  # noqa: TRY400 - it says all

        def obey_none() -> None:
            if flow not in self._ordered:
                self._obey(flow, Overrides())

        await declare_queues(connection, [overrides_spec(flow)])
        return await follow_stream(
            connection, overrides_queue(flow), on_body=obey, on_empty=obey_none, silence_s=NO_ORDER_S
        )

    def _obey(self, flow: str, settings: Overrides) -> None:
        self._ordered.add(flow)
        for follower in self._followers[flow]:
            follower(settings)

    def _hear(self, body: bytes) -> None:
        announcement = _parse(body)
        if announcement is None:
            log.warning("control.not_understood", body_bytes=len(body))
            return
        if announcement["from"] != self.instance:
            for listener in self._listeners.get(announcement["flow"], ()):
                listener(announcement)


def _parse(body: bytes) -> Announcement | None:
    """Return an announcement, or None for what cannot be one: anybody with rights on the exchange can publish there."""
    if len(body) > ANNOUNCEMENT_MAX_BYTES:
        return None
    try:
        announcement = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(announcement, dict) and all(
        isinstance(announcement.get(k), str) for k in ("flow", "from", "kind")
    )
    return announcement if is_ours else None


async def broadcast_repeatedly(broadcast: Callable[[], None]) -> None:
    """Broadcast every second, for ever."""
    while True:
        broadcast()
        await asyncio.sleep(ANNOUNCE_EVERY_S)
