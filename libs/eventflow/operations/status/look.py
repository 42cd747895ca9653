"""A look at all flows and services: their state at one moment."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from eventflow.amqp.meter import QueueMeter
from eventflow.event import utc_now
from eventflow.operations.asking import Enquiry, asking
from eventflow.operations.retry_queues import Leftovers
from eventflow.operations.session import Link
from eventflow.operations.status.counting import count, with_reports
from eventflow.operations.status.flow import FlowStatus
from eventflow.operations.status.losses import losses_in
from eventflow.operations.status.services import Service, services_in
from eventflow.operations.status.spool import SpoolStatus, spool_in
from eventflow.settings.root import Settings
from eventflow.topology import Lane, lane_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of all flows and services at one moment.

    Attributes:
        unasked: The reason why no service could be asked; None if they were.
    """

    at: datetime
    flows: Sequence[FlowStatus]
    services: Sequence[Service] = ()
    spool: SpoolStatus | None = None
    unasked: str | None = None

    @property
    def losses(self) -> Iterator[str]:
        """One line for each possible loss of events."""
        return (f"flow {flow.flow}: {line}" for flow in self.flows for line in losses_in(flow.reports.values()))


class Lookout:
    """Looks at some flows, as often as needed.

    Attributes:
        enquiry: Asks the services of these flows.
    """

    def __init__(
        self, link: Link, settings: Settings, flows: Sequence[str], old: Leftovers, *, enquiry: Enquiry
    ) -> None:
        """Prepare; use `looking_out`."""
        self._link = link
        self._settings = settings
        self._flows = flows
        self._old = old
        self._meter = QueueMeter(link.connection)
        self.enquiry = enquiry

    async def look(self) -> Status:
        """Count the events in the queues, and ask the services.

        Raises:
            BrokerUnavailableError: The broker does not answer.
        """
        counted = await count(self._meter.depth, self._settings, self._flows, self._old)
        answers = await self.enquiry.ask({status.flow: status.processors or 0 for status in counted})
        statuses = await asyncio.gather(
            *(with_reports(self._link, self._meter.depth, status, answers) for status in counted)
        )
        return Status(
            at=utc_now(),
            flows=statuses,
            services=services_in(answers),
            spool=spool_in(answers.every_collector.values()),
            unasked=answers.unasked,
        )

    async def count_processors(self, flow: str) -> int:
        """Return the number of processors of a flow.

        Raises:
            BrokerUnavailableError: The broker does not answer.
        """
        depth = await self._meter.depth(lane_queue(flow, Lane.LIVE))
        return depth.consumers if depth else 0


@asynccontextmanager
async def looking_out(link: Link, settings: Settings, flows: Sequence[str], old: Leftovers) -> AsyncIterator[Lookout]:
    """Yield a lookout on some flows, which asks the services over a connection of its own.

    Args:
        link: An open connection to the broker.
        settings: The settings with these flows.
        flows: The flows to look at.
        old: The retry queues of older settings.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    async with asking(link, tuple(flows)) as enquiry:
        yield Lookout(link, settings, flows, old, enquiry=enquiry)
