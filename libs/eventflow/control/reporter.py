"""Answers of a service that only reports on the control exchange: a collector, when `eventflow status` asks.

No event depends on this exchange, so the connection is separate, and a missing right is only a warning: the service
works as before, and `eventflow status` does not show it. A processor has a `ControlBus` instead.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, NoReturn

import structlog

from eventflow.amqp.channel import is_refused, open_channel, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.fanout import consume_fanout, declare_fanout, send_fanout
from eventflow.amqp.proofs import prove_broadcasting
from eventflow.amqp.session import keep_connected
from eventflow.control.messages import AskStatus, Broadcast, decode, encode
from eventflow.control.reports import CollectorReport
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import first_of
from eventflow.topology import CONTROL_EXCHANGE, control_queue

PAUSE_S = 60.0
"""Pause after a refusal, since only a person can grant a right, and after an unexpected error."""

log = structlog.stdlib.get_logger()


class Reporter:
    """Answers each question about the status with a report that is made at that moment."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        flows: Collection[str],
        instance: str,
        report: Callable[[str], CollectorReport],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            urls: URLs of the brokers.
            flows: The flows of this process. Questions about others, such as those of another team, get no answer.
            instance: Name of this process among all on the exchange.
            report: Returns the present state, for a flow.
            on_error: Called with an unexpected error, which must end nothing.
        """
        self._urls = urls
        self._flows = frozenset(flows)
        self._instance = instance
        self._report = report
        self._on_error = on_error
        self._sessions = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._logged_refusal: str | None = None

    async def run(self) -> NoReturn:
        """Stay connected and answer until cancelled."""
        while True:
            try:
                await keep_connected(self._urls, name=f"{self._instance} control", session=self._session)
            except Exception as error:  # noqa: BLE001 - a bug here must not end a service that takes in events
                self._on_error(error)
            await asyncio.sleep(PAUSE_S)

    async def _session(self, connection: Connection) -> None:
        """Answer until the connection is lost; return if the user lacks a right."""
        try:
            await self._take_part(connection)
        except BrokerUnavailableError as error:
            if not is_refused(error):
                raise
            if (refusal := str(error)) != self._logged_refusal:
                log.warning("control.refused", reason=refusal, effect="eventflow status does not show this process")
                self._logged_refusal = refusal

    async def _take_part(self, connection: Connection) -> None:
        listening, answering = await open_channel(connection), await open_channel(connection)
        proving = await open_channel(connection, confirms=True)
        await declare_fanout(listening, CONTROL_EXCHANGE)
        self._sessions += 1  # a new name for each session, as in `ControlBus`
        queue = control_queue(f"{self._instance}.{self._sessions}")
        on_body = partial(self._receive, connection, partial(send_fanout, answering, exchange=CONTROL_EXCHANGE))
        await consume_fanout(listening, queue, exchange=CONTROL_EXCHANGE, on_body=on_body)
        # An answer without the right would only close its channel, so the right is proved on one of its own.
        await prove_broadcasting(proving, CONTROL_EXCHANGE)
        self._logged_refusal = None
        await first_of(until_closed(listening), until_closed(answering))

    def _receive(self, connection: Connection, send: Callable[[bytes], Coroutine[Any, Any, None]], body: bytes) -> None:
        match decode(body):
            # During an alarm the broker reads nothing more from a connection that has published.
            case Broadcast(flow=flow, message=AskStatus()) if flow in self._flows and not connection.wire.is_blocked:
                try:
                    answer = encode(Broadcast(flow=flow, sender=self._instance, message=self._report(flow)))
                except Exception as error:  # noqa: BLE001 - a status must not end the service
                    self._on_error(error)
                    return
                sending = asyncio.create_task(send(answer))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)
