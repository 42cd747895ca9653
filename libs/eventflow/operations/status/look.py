"""A look at all flows and services: their state at one moment."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from eventflow.event import utc_now
from eventflow.operations.asking import Enquiry
from eventflow.operations.retry_queues import Leftovers
from eventflow.operations.session import Link
from eventflow.operations.status.counting import count, with_reports
from eventflow.operations.status.flow import FlowStatus
from eventflow.operations.status.losses import losses_in
from eventflow.operations.status.services import Service, services_in
from eventflow.operations.status.spool import SpoolStatus, spool_in, spool_status
from eventflow.settings.root import Settings


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


async def look(link: Link, settings: Settings, flows: Sequence[str], old: Leftovers, enquiry: Enquiry) -> Status:
    """Count the events of some flows, and ask the services.

    Args:
        link: A connection to the broker.
        settings: The settings with these flows.
        flows: The flows to look at.
        old: The retry queues of older settings.
        enquiry: Asks the services of these flows.

    Raises:
        BrokerUnavailableError: The broker does not answer.
    """
    counted = await count(link, settings, flows, old)
    answers = await enquiry.ask({status.flow: status.processors or 0 for status in counted})
    statuses = await asyncio.gather(
        *(with_reports(link, status, answers.processors.get(status.flow, {})) for status in counted)
    )
    return Status(
        at=utc_now(),
        flows=statuses,
        services=services_in(answers),
        spool=spool_in(answers.collectors.values()) or await spool_status(settings.collector),
        unasked=answers.unasked,
    )
