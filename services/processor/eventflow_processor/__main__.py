"""`eventflow-processor`: wires the processor together and runs it until a signal."""

from eventflow.service.entry import begin, imported

begin()

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle
from typing import Annotated, NoReturn

import structlog

from eventflow.amqp.consumer import REST_POLL_S
from eventflow.amqp.presence import Presence
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.shared import SharedConnection
from eventflow.control.bus import ControlBus
from eventflow.history.opening import open_history
from eventflow.management.api import Management
from eventflow.management.policies import PolicyWatch
from eventflow.network.broker_tls import require_sound_urls
from eventflow.service import admin, lifecycle
from eventflow.service.command import ConfigOption, start_service
from eventflow.service.instance import name_instance
from eventflow.service.program import run_program, version_option
from eventflow.service.supervision import supervised
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.metrics import exposition_of
from eventflow.telemetry.tracers import tracer_for
from eventflow.topology import CONTROL_EXCHANGE, Lane, QueueSpec, flow_specs, lane_queue
from eventflow_processor.backlog.depths import Depths
from eventflow_processor.flow import Flow, Shared, wire_flow
from eventflow_processor.guards import require_handlers, require_target_credentials, require_target_urls
from eventflow_processor.observe.history_metrics import HistoryMetrics
from eventflow_processor.observe.metrics import ProcessorMetrics
from eventflow_processor.quota.broker_watch import LostBrokerWatch
from eventflow_processor.readiness import obstacles_to, readiness_of
from eventflow_processor.recording import Recording
from eventflow_processor.report import FlowReporter

imported()

SERVICE = "eventflow-processor"

CONNECTIONS_MAX = 8
"""Connections to consume on. With more flows than that, several flows share one (ADR 42)."""

REST_CHECKS_PER_S = 10
"""Checks of all flows without events together. With more flows each is checked more rarely, so that their number does
not decide the load of the processor and of the broker."""

TEND_EVERY_S = 1.0

GUARDS = (require_target_urls, require_target_credentials, require_handlers)

log = structlog.stdlib.get_logger()


async def serve(settings: Settings) -> None:
    """Run the processor until SIGTERM or SIGINT, then drain.

    Raises:
        EventFlowError: It cannot continue.
    """
    require_sound_urls(settings.broker.urls)
    stop = lifecycle.stop_requested()
    async with AsyncExitStack() as stack:
        shared = _shared_of(settings, stack)
        management = Management.of(settings.broker.management_url, settings.broker.urls[0])
        policies = PolicyWatch(
            management,
            flows=settings.served_flows,
            on_look=partial(shared.metrics.set_policies, settings.served_flows),
        )
        connections = _connections_of(settings, shared)
        served, flows = settings.served_flows, list[Flow]()
        rest_poll_s = max(REST_POLL_S, len(served) / REST_CHECKS_PER_S)
        for (name, flow), connection in zip(served.items(), cycle(connections), strict=False):
            seat = connection.seat(name=f"{shared.control.instance} consume {name}")
            flows.append(await wire_flow(name, flow, shared, stack, seat=seat, rest_poll_s=rest_poll_s))
        obstacles = partial(obstacles_to, flows, shared, stop)
        for each in flows:
            broadcast = partial(shared.control.broadcast, each.name)
            answers = FlowReporter(each, metrics=shared.metrics, obstacles=obstacles, broadcast=broadcast)
            shared.control.on_peer_message(each.name, answers.on_peer_message)
        port = await stack.enter_async_context(
            admin.serve(
                settings.processor,
                setting="EVENTFLOW_PROCESSOR__ADMIN_PORT",
                readiness=partial(readiness_of, flows, shared, policies, stop),
                exposition=exposition_of(shared.metrics.registry),
                refresh=shared.metrics.refresh,
            )
        )
        log.info(
            "processor.started",
            flows=[flow.name for flow in flows],
            http_clients={name: flow.target.client for name, flow in settings.served_flows.items()},
            admin_port=port,
            pid=os.getpid(),
        )
        stack.push_async_callback(cancel_and_wait, asyncio.create_task(policies.run()))
        if management is not None:
            watch = LostBrokerWatch(management, {lane_queue(flow.name, Lane.LIVE): flow.quota for flow in flows})
            stack.push_async_callback(cancel_and_wait, asyncio.create_task(watch.run()))
        if shared.recording is not None:
            shared.recording.writer.start()
            stack.push_async_callback(shared.recording.writer.finish)  # after the drain, so that it has every attempt
        await stack.enter_async_context(supervised())
        await run_until(stop, flows, shared, connections)
    log.info("processor.stopped")


def _shared_of(settings: Settings, stack: AsyncExitStack) -> Shared:
    """Build the parts that all flows use."""
    instance, metrics = name_instance(SERVICE), ProcessorMetrics()
    tracer = tracer_for(SERVICE)
    stack.push_async_callback(tracer.close)
    presence = Presence(metrics.count_vanished)
    publisher = Publisher(
        settings.broker.urls,
        specs=_specs_of(settings),
        name=f"{instance} publish",
        fanouts=[CONTROL_EXCHANGE],
        presence=presence,
    )
    return Shared(
        recording=_recording_of(settings, instance, metrics),
        settings=settings,
        publisher=publisher,
        control=ControlBus(
            settings.broker.urls, instance=instance, publisher=publisher, on_ignored=metrics.count_ignored
        ),
        metrics=metrics,
        tracer=tracer,
        presence=presence,
    )


def _specs_of(settings: Settings) -> Sequence[QueueSpec]:
    """Return the queues to declare: those of the served flows, and of all flows if a handler publishes into them."""
    publishes = any(flow.handler.call and not flow.handler.has_database for flow in settings.served_flows.values())
    flows = settings.all_flows if publishes else settings.served_flows
    return [spec for name, flow in flows.items() for spec in flow_specs(name, flow.target.retry_delays_s)]


def _recording_of(settings: Settings, instance: str, metrics: ProcessorMetrics) -> Recording | None:
    """Build the recording of attempts, without I/O; None if there is no history."""
    if settings.history.url is None:
        return None
    open_store = partial(
        open_history, settings.history.url.get_secret_value(), min_free_bytes=settings.history.min_free_bytes
    )
    own = HistoryMetrics(metrics.registry, flows=settings.served_flows, internal_errors=metrics.internal_errors)
    recording = Recording.of(settings.history, open_store, instance=instance, metrics=own)
    metrics.on_refresh(recording.refresh)
    return recording


def _connections_of(settings: Settings, shared: Shared) -> Sequence[SharedConnection]:
    """Build the connections to consume on: one for each flow, up to a number that does not grow with the flows."""
    flows, instance = tuple(settings.served_flows), shared.control.instance
    names = (
        [f"{instance} consume {flow}" for flow in flows]
        if len(flows) <= CONNECTIONS_MAX
        else [f"{instance} consume {number} of {CONNECTIONS_MAX}" for number in range(1, CONNECTIONS_MAX + 1)]
    )
    return [SharedConnection(settings.broker.urls, name=name) for name in names]


async def run_until(
    stop: asyncio.Event, flows: Sequence[Flow], shared: Shared, connections: Sequence[SharedConnection]
) -> None:
    """Consume and dispatch until the stop; then drain while copies can still be published."""
    depths = Depths(
        shared.settings.broker.urls,
        flows=[flow.queues for flow in flows],
        name=f"{shared.control.instance} look",
        presence=shared.presence,
    )
    connected = [
        asyncio.create_task(shared.publisher.run()),
        asyncio.create_task(shared.control.run()),
        *(asyncio.create_task(connection.run()) for connection in connections),
    ]
    consuming = [asyncio.create_task(flow.take_part(shared.control)) for flow in flows]
    dispatching = [asyncio.create_task(flow.dispatcher.run()) for flow in flows]
    tending = [asyncio.create_task(depths.run()), asyncio.create_task(tend_regularly(flows))]
    try:
        await lifecycle.until_stopped(stop, *connected, *consuming, *dispatching, *tending)
        log.info("processor.draining", timeout_s=max((flow.drain_timeout_s for flow in flows), default=0.0))
        await cancel_and_wait(*dispatching, *tending)
        await asyncio.gather(*(flow.drain() for flow in flows))
    finally:
        await cancel_and_wait(*dispatching, *tending, *consuming)
        await cancel_and_wait(*connected)  # last: a session closes its channels while its connection works


async def tend_regularly(flows: Sequence[Flow]) -> NoReturn:
    """Do for every flow what is due each second, until cancelled. One timer for all costs less than one for each."""
    while True:
        await asyncio.sleep(TEND_EVERY_S)
        for flow in flows:
            flow.tend()


def command(config: ConfigOption = None, _version: Annotated[bool, version_option(SERVICE)] = False) -> None:
    """Deliver every event to its target, at the rate that the target allows."""

    async def run(settings: Settings, _: int) -> None:
        await serve(settings)

    start_service(SERVICE, Role.PROCESSOR, run, config=config, guards=GUARDS)


def main() -> None:
    """Entry point of `eventflow-processor`."""
    run_program(command)


if __name__ == "__main__":
    main()
