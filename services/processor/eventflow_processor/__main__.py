"""`eventflow-processor`: wires the processor together and runs it until a signal."""

from eventflow.service.entry import begin

begin()

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog
import typer

from eventflow.amqp.consumer import Consumer
from eventflow.amqp.presence import Presence
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import QueueDepth
from eventflow.control.bus import ControlBus, broadcast_repeatedly
from eventflow.management.api import Management
from eventflow.management.policies import PolicyWatch
from eventflow.network.broker_tls import require_sound_urls
from eventflow.service import admin, lifecycle
from eventflow.service.command import ConfigOption, start_service
from eventflow.service.instance import name_instance
from eventflow.settings.roles import Role
from eventflow.settings.root import FlowSettings, Settings
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.metrics import exposition_of
from eventflow.telemetry.tracers import tracer_for
from eventflow.telemetry.tracing import Tracer
from eventflow.topology import CONTROL_EXCHANGE, Lane, dead_queue, flow_prefix, flow_specs, retry_queue
from eventflow_processor.backlog.depths import Depths
from eventflow_processor.backlog.monitor import BacklogMonitor
from eventflow_processor.concurrency import concurrency_of, held_max_s, prefetch_of
from eventflow_processor.dispatcher import Dispatcher
from eventflow_processor.gate.gate import Gate
from eventflow_processor.guards import require_target_urls
from eventflow_processor.handler import Handler
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.metrics import FlowMetrics, ProcessorMetrics
from eventflow_processor.observe.observations import FlowObserver
from eventflow_processor.observe.recent import RecentEvents
from eventflow_processor.observe.tracing import DeliveryTracing
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import RetryPolicy
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.http import Target
from eventflow_processor.target.request import request_form
from eventflow_processor.target.success import success_rule

SERVICE = "eventflow-processor"

LEAVE_AFTER_S = 2.0
"""How long a flow is kept closed for want of the control connection before it is left: a processor that only stood
still itself finds the connection again at once, and need not join anew."""

log = structlog.stdlib.get_logger()


@dataclass(slots=True, kw_only=True)
class Membership:
    """Passes on what the consumer sees to those who need it: the quota, the gauges and the dispatcher."""

    quota: Quota
    backlog: BacklogMonitor
    metrics: FlowMetrics
    internal_errors: InternalErrors
    dispatcher: Dispatcher | None = None

    @harmless
    def joined(self) -> None:
        """See `MembershipListener`."""
        self.quota.joined()

    @harmless
    def looked(self, lane: Lane, depth: QueueDepth, *, began_s: float) -> None:
        """See `MembershipListener`."""
        if lane is Lane.LIVE:
            self.quota.looked(depth.consumers, began_s=began_s)
            if self.dispatcher is not None:
                self.dispatcher.queue_looked(ready=depth.messages)
        self.backlog.looked(lane, depth)

    @harmless
    def left(self) -> None:
        """See `MembershipListener`."""
        self.quota.left()

    @harmless
    def stuck(self, deliveries: int) -> None:
        """See `MembershipListener`."""
        self.metrics.stuck.inc(deliveries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The running parts of one flow."""

    name: str
    consumer: Consumer
    gate: Gate
    quota: Quota
    dispatcher: Dispatcher
    depths: Depths
    drain_timeout_s: float

    def broadcast_state(self) -> None:
        """Tell the other processors what one that joins now must know."""
        self.gate.broadcast_state(can_attempt=self.consumer.is_consuming)
        self.quota.broadcast_state()

    async def take_part(self, control: ControlBus) -> None:
        """Consume while orders can be heard; otherwise leave the flow, and our share of its quota, to the others."""
        while True:
            await control.found()
            consuming = asyncio.create_task(self.consumer.run())
            lost = asyncio.create_task(control.lost_for(LEAVE_AFTER_S))
            try:
                await asyncio.wait({consuming, lost}, return_when=asyncio.FIRST_COMPLETED)
                if consuming.done():
                    return consuming.result()
                log.error("flow.left", flow=self.name, reason="the control connection is lost")
                await self.drain()
            finally:
                await cancel_and_wait(consuming, lost)

    async def drain(self) -> None:
        """Stop consuming, settle what is in flight, hand the rest back."""
        await self.consumer.stop()
        await self.dispatcher.drain(timeout_s=self.drain_timeout_s)
        await self.consumer.close()


async def wire_flow(
    name: str,
    flow: FlowSettings,
    settings: Settings,
    publisher: Publisher,
    control: ControlBus,
    metrics: ProcessorMetrics,
    tracer: Tracer,
    presence: Presence,
    stack: AsyncExitStack,
) -> Flow:
    """Build the parts of one flow."""
    target_settings = flow.target
    concurrency = concurrency_of(target_settings)
    lanes = Lanes(due_share=target_settings.due_share, replay_share=target_settings.replay_share)
    flow_metrics = metrics.bind(name)
    target = await stack.enter_async_context(
        Target(
            url=target_settings.url or "",
            form=request_form(target_settings),
            headers={key: value.get_secret_value() for key, value in target_settings.headers.items()},
            timeout_s=target_settings.timeout_s,
            feedback=FeedbackReader(mode=target_settings.feedback, cost=target_settings.cost),
            success=success_rule(target_settings),
        )
    )
    broadcast = partial(control.broadcast, name)
    quota = Quota(
        flow=name,
        rate_per_s=target_settings.rate_per_s,
        burst=target_settings.burst,
        cost=target_settings.cost,
        broadcast=broadcast,
        metrics=flow_metrics,
    )
    gate = Gate(
        flow=name,
        instance=control.instance,
        max_retry_after_s=target_settings.max_retry_after_s,
        broadcast=broadcast,
        on_breaker=flow_metrics.set_breaker,
        on_blocked=flow_metrics.set_blocked,
    )
    for part in (gate, quota):
        control.on_peer_message(name, part.on_peer_message)
        control.on_overrides(name, part.apply_overrides)
    control.on_connection_change(gate.control_lost)
    recent = RecentEvents(lanes, broadcast=broadcast)
    control.on_peer_message(name, recent.on_peer_message)
    membership = Membership(
        quota=quota,
        backlog=BacklogMonitor(lanes=lanes, metrics=flow_metrics, quota=quota),
        metrics=flow_metrics,
        internal_errors=metrics.internal_errors,
    )
    consumer = Consumer(
        settings.broker.urls,
        flow=name,
        specs=flow_specs(name, target_settings.retry_delays_s),
        prefetch=prefetch_of(
            target_settings, configured=settings.processor.prefetch, max_body_bytes=flow.source.max_body_bytes
        ),
        sink=lanes,
        publisher=publisher,
        listener=membership,
        held_max_s=held_max_s(target_settings),
        name=f"{control.instance} consume {name}",
        presence=presence,
    )
    flow_metrics.follow_held(lambda: consumer.held)
    observer = FlowObserver(
        flow=name,
        metrics=flow_metrics,
        tracing=DeliveryTracing(tracer, flow=name, target_url=target_settings.url or ""),
        recent=recent,
        internal_errors=metrics.internal_errors,
    )
    membership.dispatcher = dispatcher = Dispatcher(
        flow=name,
        lanes=lanes,
        gate=gate,
        quota=quota,
        handler=Handler(
            lanes=lanes,
            gate=gate,
            quota=quota,
            target=target,
            policy=RetryPolicy(
                max_attempts=target_settings.max_attempts,
                delays_s=target_settings.retry_delays_s,
                max_retry_after_s=target_settings.max_retry_after_s,
            ),
            consumer=consumer,
            observer=observer,
        ),
        observer=observer,
        concurrency=concurrency,
        attempt_max_s=target_settings.timeout_s,
        held_max_s=held_max_s(target_settings),
    )
    return Flow(
        name=name,
        consumer=consumer,
        gate=gate,
        quota=quota,
        dispatcher=dispatcher,
        depths=depths_of(
            name,
            target_settings.retry_delays_s,
            settings.broker.urls,
            flow_metrics,
            presence,
            instance=control.instance,
        ),
        drain_timeout_s=settings.processor.drain_timeout_s,
    )


def depths_of(
    flow: str,
    delays_s: Sequence[float],
    urls: Sequence[str],
    metrics: FlowMetrics,
    presence: Presence,
    *,
    instance: str,
) -> Depths:
    """Build what looks at the queues of a flow that no processor consumes from."""
    names = (dead_queue(flow), *(retry_queue(flow, delay_s) for delay_s in delays_s))
    return Depths(
        urls,
        queues={queue: partial(metrics.set_backlog, queue.removeprefix(flow_prefix(flow))) for queue in names},
        name=f"{instance} look {flow}",
        presence=presence,
    )


async def serve(settings: Settings) -> None:
    """Run the processor until SIGTERM or SIGINT, then drain.

    Raises:
        EventFlowError: It cannot go on.
    """
    require_sound_urls(settings.broker.urls)
    stop = lifecycle.stop_requested()
    metrics = ProcessorMetrics()
    specs = [
        spec for name, flow in settings.served_flows.items() for spec in flow_specs(name, flow.target.retry_delays_s)
    ]
    instance = name_instance(SERVICE)
    presence = Presence(metrics.count_vanished)
    publisher = Publisher(
        settings.broker.urls,
        specs=specs,
        name=f"{instance} publish",
        fanouts=[CONTROL_EXCHANGE],
        presence=presence,
    )
    policies = PolicyWatch(
        Management.of(settings.broker.management_url, settings.broker.urls[0]),
        flows=settings.served_flows,
        on_look=partial(metrics.set_policies, settings.served_flows),
    )
    control = ControlBus(settings.broker.urls, instance=instance, publisher=publisher)
    async with AsyncExitStack() as stack:
        tracer = tracer_for(SERVICE)
        stack.push_async_callback(tracer.close)
        flows = [
            await wire_flow(name, flow, settings, publisher, control, metrics, tracer, presence, stack)
            for name, flow in settings.served_flows.items()
        ]

        def readiness() -> admin.Readiness:
            consuming = {flow.name: flow.consumer.is_consuming for flow in flows}
            standstills = {flow.name: why for flow in flows if (why := flow.dispatcher.standstill()) is not None}
            blocked = {flow.name: error for flow in flows if (error := flow.gate.blocked_by) is not None}
            ready = (
                all(consuming.values())
                and all(flow.gate.knows_overrides for flow in flows)
                and not control.is_lost
                and publisher.state in {"up", "blocked"}
                and not standstills
                and not blocked
                and not stop.is_set()
            )
            details = {
                "publisher": publisher.state,
                "control": "down" if control.is_lost else "up",
                "consuming": consuming,
                "standstill": standstills,
                "blocked": blocked,
                "policies": policies.details,
            }
            return admin.Readiness(ready=ready, details=details)

        port = await stack.enter_async_context(
            admin.serve(
                host=settings.processor.admin_host,
                port=settings.processor.admin_port,
                setting="EVENTFLOW_PROCESSOR__ADMIN_PORT",
                readiness=readiness,
                exposition=exposition_of(metrics.registry),
            )
        )
        log.info("processor.started", flows=[flow.name for flow in flows], admin_port=port, pid=os.getpid())
        stack.push_async_callback(cancel_and_wait, asyncio.create_task(policies.run()))
        await run_until(stop, flows, publisher, control)
    log.info("processor.stopped")


async def run_until(stop: asyncio.Event, flows: list[Flow], publisher: Publisher, control: ControlBus) -> None:
    """Consume and dispatch until the stop; then drain while copies can still be published."""
    connected = [asyncio.create_task(publisher.run()), asyncio.create_task(control.run())]
    consuming = [asyncio.create_task(flow.take_part(control)) for flow in flows]
    dispatching = [
        asyncio.create_task(duty)
        for flow in flows
        for duty in (
            flow.dispatcher.run(),
            flow.dispatcher.check_regularly(),
            flow.depths.run(),
            broadcast_repeatedly(flow.broadcast_state),
        )
    ]
    try:
        await lifecycle.until_stopped(stop, *connected, *consuming, *dispatching)
        log.info("processor.draining", timeout_s=max((flow.drain_timeout_s for flow in flows), default=0.0))
        await cancel_and_wait(*dispatching)
        await asyncio.gather(*(flow.drain() for flow in flows))
    finally:
        await cancel_and_wait(*dispatching, *consuming, *connected)


def command(config: ConfigOption = None) -> None:
    """Hand every event to its target, at the rate that the target allows."""

    async def run(settings: Settings, _: int) -> None:
        await serve(settings)

    start_service(SERVICE, Role.PROCESSOR, run, config=config, guards=[require_target_urls])


def main() -> None:
    """Entry point of `eventflow-processor`."""
    typer.run(command)


if __name__ == "__main__":
    main()
