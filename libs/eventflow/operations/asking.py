"""Questions to the services over the control exchange: their state, and the state of one event."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from eventflow.control.bus import ControlBus
from eventflow.control.messages import AskStatus, Broadcast, Known, Why
from eventflow.control.reports import CollectorReport, ProcessorReport
from eventflow.errors import BrokerUnavailableError
from eventflow.operations.session import Link, instance, publishing
from eventflow.tasks import cancel_and_wait
from eventflow.topology import CONTROL_EXCHANGE

ASK_EVERY_S = 0.25
ANSWERS_MAX_S = 2.0
COLLECTORS_S = 0.5
"""Time for the answers of collectors. Their number is unknown, because they consume from no queue of a flow."""

WHY_MAX_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Reports of the services.

    Attributes:
        processors: Reports by flow, and then by the name of the processor.
        collectors: Reports by flow, and then by the name of the collector process.
        unasked: The reason why no service could be asked; None if they were.
    """

    processors: Mapping[str, Mapping[str, ProcessorReport]] = field(default_factory=dict)
    collectors: Mapping[str, Mapping[str, CollectorReport]] = field(default_factory=dict)
    unasked: str | None = None

    @property
    def every_processor(self) -> Mapping[str, ProcessorReport]:
        """One report of each processor, by its name."""
        return {name: report for reports in self.processors.values() for name, report in reports.items()}

    @property
    def every_collector(self) -> Mapping[str, CollectorReport]:
        """One report of each collector process, by its name."""
        return {name: report for reports in self.collectors.values() for name, report in reports.items()}


class Enquiry:
    """Asks the services of some flows, as often as needed. Several questions may be open at the same time."""

    def __init__(self, control: ControlBus | None, *, flows: tuple[str, ...], unasked: str | None = None) -> None:
        """Ask over `control`. Without it there are no answers, for the reason in `unasked`."""
        self._control = control
        self._flows = flows
        self._unasked = unasked
        self._listeners: set[Callable[[Broadcast], None]] = set()
        if control is not None:
            for flow in flows:
                control.on_peer_message(flow, self._on_peer_message)

    async def ask(self, processors: Mapping[str, int]) -> Answers:
        """Ask all services, and wait until the processors have answered and collectors had the time to.

        Args:
            processors: The number of processors of each flow.
        """
        if self._control is None:
            return Answers(unasked=self._unasked)
        processors_of: defaultdict[str, dict[str, ProcessorReport]] = defaultdict(dict)
        collectors_of: defaultdict[str, dict[str, CollectorReport]] = defaultdict(dict)

        def on_message(received: Broadcast) -> None:
            match received.message:
                case ProcessorReport() as report:
                    processors_of[received.flow][received.sender] = report
                case CollectorReport() as report:
                    collectors_of[received.flow][received.sender] = report
                case _:
                    pass  # messages between processors, and to or from other operators

        with self._listening(on_message):
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            while (asked_s := loop.time() - began_s) < ANSWERS_MAX_S:
                missing = [flow for flow in self._flows if len(processors_of[flow]) < processors.get(flow, 0)]
                if asked_s >= COLLECTORS_S and not missing:
                    break
                # Repeated: a message that cannot be published at this moment is lost without notice.
                for flow in self._flows if asked_s < COLLECTORS_S else missing:
                    self._control.broadcast(flow, AskStatus())
                await asyncio.sleep(ASK_EVERY_S)
        return Answers(processors=processors_of, collectors=collectors_of)

    async def ask_why(self, flow: str, event_id: str, *, processors: int) -> Mapping[str, Known]:
        """Ask the processors of a flow about an event, until all have answered or 3 s are up; return their answers.

        Raises:
            BrokerUnavailableError: Nothing can be asked.
        """
        if self._control is None:
            raise BrokerUnavailableError(self._unasked)
        answers: dict[str, Known] = {}
        complete = asyncio.Event()

        def on_message(received: Broadcast) -> None:
            match received.message:
                case Known() as known if (received.flow, known.event_id) == (flow, event_id):
                    answers[received.sender] = known
                    if len(answers) >= processors:
                        complete.set()
                case _:
                    pass  # messages between processors, and to or from other operators

        with self._listening(on_message):
            for _ in range(round(WHY_MAX_S / ASK_EVERY_S)):
                # Repeated, as in `ask`.
                self._control.broadcast(flow, Why(event_id=event_id))
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_EVERY_S):
                        await complete.wait()
                        break
        return answers

    @contextmanager
    def _listening(self, listener: Callable[[Broadcast], None]) -> Iterator[None]:
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def _on_peer_message(self, received: Broadcast) -> None:
        for listener in self._listeners:
            listener(received)


@asynccontextmanager
async def asking(link: Link, flows: tuple[str, ...]) -> AsyncIterator[Enquiry]:
    """Yield an enquiry that can receive answers. If nothing can be published, it has none, and the reason for it."""
    async with AsyncExitStack() as stack:
        try:
            publisher = await stack.enter_async_context(publishing(link, (), fanouts=(CONTROL_EXCHANGE,)))
        except BrokerUnavailableError as error:
            yield Enquiry(None, flows=flows, unasked=str(error))
            return
        control = ControlBus([link.url], instance=instance(), publisher=publisher)
        enquiry = Enquiry(control, flows=flows)
        stack.push_async_callback(cancel_and_wait, asyncio.create_task(control.run()))
        # An answer that comes before the bus has its queue is lost.
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWERS_MAX_S):
                await control.lease.found()
        yield enquiry
