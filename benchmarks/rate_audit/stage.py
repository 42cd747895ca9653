"""Surroundings of a scenario: a flow with its own processors and target, on a broker that scenarios may share."""

import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiormq import Channel

from benchmarks.rate_audit.figures import Quota, latest_s
from benchmarks.waiting import until
from eventflow.amqp.channel import answered, open_channel
from eventflow.amqp.connection import Connection, connect
from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import measure
from eventflow.event import Event, new_event_id, utc_now
from eventflow.message import Envelope, encode
from eventflow.settings.target import TargetSettings
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, QueueSpec, dead_queue, flow_specs, lane_queue
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess, scrubbed_environment
from sandbox.target.audit import Audit
from sandbox.target.behaviour import Behaviour

READY_WITHIN_S = 60.0
POLL_S = 0.05
METRICS_POLL_S = 0.25
UNCONFIRMED_MAX = 2_000
CONFIRMED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Processor as a process, with settings from the environment only."""

    process: ChildProcess
    admin_url: str


@dataclass(slots=True, kw_only=True)
class Stage:
    """A flow, its processors and its target.

    Attributes:
        quota: Quota in the settings of the processors.
        show_step: Shows the current step.
    """

    flow: str
    quota: Quota
    broker_url: str
    target_url: str
    target: ChildProcess
    audit: Audit
    http: aiohttp.ClientSession
    show_step: Callable[[str], None]
    module: str
    processors: list[Processor] = field(default_factory=list)
    _publisher: Publisher
    _channel: Channel

    async def fill(self, events: int) -> None:
        """Publish events to the events queue, and wait for all confirms."""
        self.show_step(f"publishing {events} events")
        unconfirmed: deque[Publication] = deque()
        for _ in range(events):
            message = encode(Envelope(event=_event()))
            unconfirmed.append(self._publisher.publish(message, queue=lane_queue(self.flow, Lane.LIVE)))
            if len(unconfirmed) >= UNCONFIRMED_MAX:
                await unconfirmed.popleft().confirmed(timeout_s=CONFIRMED_WITHIN_S)
        for publication in unconfirmed:
            await publication.confirmed(timeout_s=CONFIRMED_WITHIN_S)

    def start(self, processors: int, *, broker_url: str | None = None) -> list[Processor]:
        """Start processors, and return them."""
        started = [self._processor(broker_url or self.broker_url) for _ in range(processors)]
        for processor in started:
            processor.process.start()
        self.processors += started
        return started

    async def stop(self, processors: Iterable[Processor]) -> None:
        """End processors with SIGTERM, all at once."""
        leaving = list(processors)
        for processor in leaving:
            processor.process.signal(signal.SIGTERM)
        self.processors = [processor for processor in self.processors if processor not in leaving]
        await asyncio.gather(*(asyncio.to_thread(processor.process.stop) for processor in leaving))

    async def consumers(self) -> int:
        """Return the number of processors that the broker knows."""
        return (await measure(self._channel, lane_queue(self.flow, Lane.LIVE))).consumers

    async def consumers_are(self, count: int, *, within_s: float = READY_WITHIN_S) -> float:
        """Wait until the broker knows `count` processors, and return the time."""

        async def are() -> bool:
            self._check_processes()
            return await self.consumers() == count

        return await until(are, within_s=within_s, every_s=POLL_S, what=f"{count} consumers")

    async def all_spend(self) -> float:
        """Wait until each processor has finished an attempt, and return the time."""
        self.show_step("waiting for an attempt of every processor")

        async def spend() -> bool:
            self._check_processes()
            attempts = await asyncio.gather(*(self.attempts(processor) for processor in self.processors))
            return all(attempts)

        return await until(spend, within_s=READY_WITHIN_S, every_s=METRICS_POLL_S, what="an attempt of every processor")

    async def attempts(self, processor: Processor) -> float:
        """Return the number of finished attempts of a processor; 0 until it answers."""
        try:
            async with self.http.get(f"{processor.admin_url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except aiohttp.ClientError:
            return 0.0
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("eventflow_attempts_total{"))

    async def waiting(self) -> int:
        """Return the number of ready events in the events queue."""
        return (await measure(self._channel, lane_queue(self.flow, Lane.LIVE))).messages

    async def dead(self) -> int:
        """Return the number of dead-lettered events."""
        return (await measure(self._channel, dead_queue(self.flow))).messages

    async def throttled(self) -> int:
        """Return the number of requests that the target has answered with 429."""
        throttled: int = (await self.audit.summary())["throttled"]
        return throttled

    async def late_s(self, *, since_s: float = 0.0) -> float:
        """Return the longest delay of the target itself since a moment."""
        return latest_s(await self.audit.stalls_s(), start_s=since_s, end_s=now_s())

    async def behave(self, **changes: float) -> None:
        """Change the behaviour of the target."""
        async with self.http.put(f"{self.target_url}_behaviour", json=changes) as answer:
            answer.raise_for_status()

    @property
    def pids(self) -> list[int]:
        """Process ids of the target and the processors."""
        return [self.target.pid, *(processor.process.pid for processor in self.processors)]

    def end(self) -> None:
        """Kill the processors that still run."""
        for processor in self.processors:
            processor.process.kill()

    def _processor(self, broker_url: str) -> Processor:
        admin_port = free_port()
        settings = {
            "EVENTFLOW_BROKER__URL": broker_url,
            "EVENTFLOW_PROCESSOR__ADMIN_PORT": admin_port,
            "EVENTFLOW_TELEMETRY__LOG_LEVEL": "warning",
        } | {
            f"EVENTFLOW_FLOWS__{self.flow.upper()}__TARGET__{name}": value
            for name, value in {
                "URL": self.target_url,
                "RATE_PER_S": self.quota.rate_per_s,
                "BURST": self.quota.burst,
                "COST": self.quota.cost,
            }.items()
        }
        environment = scrubbed_environment() | {name: str(value) for name, value in settings.items()}
        process = ChildProcess("processor", [sys.executable, "-m", self.module], env=environment)
        return Processor(process=process, admin_url=f"http://{LOOPBACK}:{admin_port}")

    def _check_processes(self) -> None:
        for process in (self.target, *(processor.process for processor in self.processors)):
            if not process.alive:
                raise RuntimeError(f"{process.name} ended with {process.returncode}: {' '.join(process.tail(1))}")


@asynccontextmanager
async def opened(
    *,
    broker_url: str,
    flow: str,
    quota: Quota,
    behaviour: Behaviour,
    show_step: Callable[[str], None],
    module: str = "eventflow_processor",
) -> AsyncIterator[Stage]:
    """Yield a stage without processors. Everything that it starts ends with the context.

    Args:
        behaviour: Behaviour of the target; only its limit is used.
        module: Module of the processor; tests use a broken one.
    """
    async with AsyncExitStack() as stack:
        target_url = f"http://{LOOPBACK}:{(port := free_port())}/"
        options = {"port": port} | behaviour.model_dump(include={"mode", "rate", "burst", "cost"})
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        target = ChildProcess(
            "target", [sys.executable, "-m", "sandbox.target", *arguments], env=scrubbed_environment()
        )
        publisher = Publisher([broker_url], specs=_specs(flow), name=f"rate audit {flow}")
        publishing = asyncio.create_task(publisher.run())
        stack.push_async_callback(cancel_and_wait, publishing)
        connection = await stack.enter_async_context(await connect(broker_url, name=f"rate audit {flow}"))
        stage = Stage(
            flow=flow,
            quota=quota,
            broker_url=broker_url,
            target_url=target_url,
            target=stack.enter_context(target),
            audit=await stack.enter_async_context(Audit(f"{target_url}_audit")),
            http=await stack.enter_async_context(aiohttp.ClientSession(trust_env=False)),
            show_step=show_step,
            module=module,
            _publisher=publisher,
            _channel=await open_channel(connection),
        )
        stack.push_async_callback(_delete_queues, connection, flow)
        stack.callback(stage.end)
        await _ready(stage, publisher)
        yield stage


async def _delete_queues(connection: Connection, flow: str) -> None:
    channel = await open_channel(connection)
    for spec in _specs(flow):
        await answered(f"delete {spec.name}", channel.queue_delete(spec.name))


async def _ready(stage: Stage, publisher: Publisher) -> None:
    async def is_ready() -> bool:
        try:
            await stage.audit.summary()
        except aiohttp.ClientError:
            return False
        return publisher.state == "up"

    await until(is_ready, within_s=READY_WITHIN_S, every_s=POLL_S, what="the target and the broker")


def now_s() -> float:
    """Return the time of the target: all processes of a machine share the monotonic clock."""
    return time.monotonic()


def _specs(flow: str) -> tuple[QueueSpec, ...]:
    return flow_specs(flow, TargetSettings().retry_delays_s)


def _event() -> Event:
    now = utc_now()
    return Event(
        id=new_event_id(),
        source="rate-audit",
        type="rate-audit.event",
        time=now,
        accepted_at=now,
        body=b'{"some": "event"}',
        content_type="application/json",
    )
