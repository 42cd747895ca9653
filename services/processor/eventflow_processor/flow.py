"""One flow of the processor: builds its parts, consumes while overrides can be received, and otherwise leaves."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import structlog
from typing_extensions import override

from eventflow.amqp.consumer import REST_POLL_S, Consumer, MembershipListener
from eventflow.amqp.presence import Presence
from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import QueueDepth
from eventflow.amqp.shared import Seat
from eventflow.control.bus import ControlBus
from eventflow.control.messages import Broadcast, Joined
from eventflow.handling.derived import DerivedEvent
from eventflow.message import Envelope, encode
from eventflow.network.client_tls import ClientTls, context_for_tokens
from eventflow.settings.auto import concurrency_of, prefetch_of
from eventflow.settings.handler import HandlerSettings
from eventflow.settings.root import FlowSettings, Settings
from eventflow.settings.target import TargetSettings
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.tracing import Tracer
from eventflow.topology import Lane, dead_queue, flow_prefix, flow_specs, lane_queue, retry_queue
from eventflow_processor.backlog.depths import FlowQueues
from eventflow_processor.backlog.monitor import BacklogMonitor
from eventflow_processor.dispatcher import Dispatcher
from eventflow_processor.gate.gate import Gate
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.log import AttemptLog
from eventflow_processor.observe.metrics import FlowMetrics, ProcessorMetrics
from eventflow_processor.observe.observer import Observers
from eventflow_processor.observe.recent import RecentEvents
from eventflow_processor.observe.tracing import DeliveryTracing
from eventflow_processor.quota.quota import Quota
from eventflow_processor.recording import Recording
from eventflow_processor.retry import RetryPolicy, attempt_max_s, held_max_s
from eventflow_processor.target.aiohttp_client import AiohttpTarget
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.function.loop_watch import LoopWatch
from eventflow_processor.target.function.metrics import FunctionMetrics
from eventflow_processor.target.function.opening import open_function
from eventflow_processor.target.function.target import FunctionTarget
from eventflow_processor.target.kept_answer import AnswerKeeping
from eventflow_processor.target.lean.client import LeanTarget
from eventflow_processor.target.oauth2.endpoint import TokenEndpoint
from eventflow_processor.target.oauth2.grant import Grant
from eventflow_processor.target.oauth2.target import AuthorizedTarget
from eventflow_processor.target.oauth2.tokens import Tokens
from eventflow_processor.target.port import Target
from eventflow_processor.target.request import Bearer, request_form, static_headers
from eventflow_processor.target.success import success_rule
from eventflow_processor.turns import Turns

LEAVE_AFTER_S = 2.0
"""Time from the loss of the control lease until the flow is left; nothing is attempted meanwhile. If only this process
has stood still, it has the lease again at once and does not need to leave and join."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Parts that all flows of a processor use.

    Attributes:
        recording: The recording of attempts; None if there is no history.
    """

    settings: Settings
    publisher: Publisher
    control: ControlBus
    metrics: ProcessorMetrics
    tracer: Tracer
    presence: Presence
    recording: Recording | None = None
    loop_watch: LoopWatch = field(default_factory=LoopWatch)

    def emit(self, event: DerivedEvent) -> Publication:
        """Begin to publish an event into its flow."""
        return self.publisher.publish(encode(Envelope(event=event)), queue=lane_queue(event.flow, Lane.LIVE))


@dataclass(slots=True, kw_only=True)
class Membership(MembershipListener):
    """Passes on the observations of the consumer to the parts that need them: quota, backlog and dispatcher."""

    quota: Quota
    backlog: BacklogMonitor
    metrics: FlowMetrics
    internal_errors: InternalErrors
    dispatcher: Dispatcher | None = None  # it needs the consumer, which needs this

    @override
    @harmless
    def joined(self) -> None:
        self.quota.joined()

    @override
    @harmless
    def depth_measured(self, lane: Lane, depth: QueueDepth, *, began_s: float, is_proved: bool) -> None:
        if lane is Lane.LIVE:
            self.quota.consumers_counted(depth.consumers, began_s=began_s, is_proved=is_proved)
            if self.dispatcher is not None:
                self.dispatcher.live_depth_measured(ready=depth.messages)
        self.backlog.depth_measured(lane, depth)

    @override
    @harmless
    def rested(self, *, is_resting: bool) -> None:
        self.quota.rested(is_resting=is_resting)

    @override
    @harmless
    def left(self) -> None:
        self.quota.left()

    @override
    @harmless
    def stuck(self, deliveries: int) -> None:
        self.metrics.stuck.inc(deliveries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The running parts of one flow."""

    name: str
    lanes: Lanes
    consumer: Consumer
    target: Target
    gate: Gate
    quota: Quota
    dispatcher: Dispatcher
    backlog: BacklogMonitor
    queues: FlowQueues
    drain_timeout_s: float

    def tend(self) -> None:
        """Do what is due every second: requeue late deliveries, and repeat the state to the peers."""
        self.dispatcher.check()
        self.broadcast_state()

    def broadcast_state(self) -> None:
        """Broadcast the state of gate and quota, for processors that join now."""
        self.gate.broadcast_state(can_attempt=self.consumer.is_consuming)
        self.quota.broadcast_state()

    def on_peer_message(self, received: Broadcast) -> None:
        """Repeat the state at once for a newcomer, which may send as soon as all others have counted it."""
        if isinstance(received.message, Joined):
            self.broadcast_state()

    async def take_part(self, control: ControlBus) -> None:
        """Consume while overrides can be received; otherwise leave the flow, and its share of the quota, to others."""
        while True:
            await control.lease.found()
            consuming = asyncio.create_task(self.consumer.run())
            lost = asyncio.create_task(control.lease.lost_for(LEAVE_AFTER_S))
            try:
                await asyncio.wait({consuming, lost}, return_when=asyncio.FIRST_COMPLETED)
                if consuming.done():
                    return consuming.result()
                log.error("flow.left", flow=self.name, reason="no overrides can be received")
                await self.drain()
            finally:
                await cancel_and_wait(consuming, lost)

    async def drain(self) -> None:
        """Stop consuming, settle the attempts in flight, and requeue the rest."""
        await self.consumer.stop()
        await self.dispatcher.drain(timeout_s=self.drain_timeout_s)
        await self.consumer.close()


async def wire_flow(
    name: str,
    flow: FlowSettings,
    shared: Shared,
    stack: AsyncExitStack,
    *,
    seat: Seat,
    rest_poll_s: float = REST_POLL_S,
) -> Flow:
    """Build the parts of one flow. The end of `stack` closes its target.

    Args:
        seat: The place on a connection to consume on.
        rest_poll_s: Time between two checks while the flow has no events.
    """
    settings, metrics = flow.attempts, shared.metrics.bind(name)
    lanes = Lanes(due_share=settings.due_share, replay_share=settings.replay_share)
    quota, gate = _quota_of(name, settings, shared), _gate_of(name, settings, shared)
    recent = RecentEvents(lanes, broadcast=partial(shared.control.broadcast, name))
    for part in (gate, quota):
        shared.control.on_overrides(name, part.apply_overrides)
    for listener in (gate, quota, recent):
        shared.control.on_peer_message(name, listener.on_peer_message)
    shared.control.lease.on_change(gate.control_lost)
    shared.control.on_peers_missed(gate.peers_missed)

    backlog = BacklogMonitor(lanes=lanes, metrics=metrics, quota=quota, gate=gate)
    membership = Membership(
        quota=quota,
        backlog=backlog,
        metrics=metrics,
        internal_errors=shared.metrics.internal_errors,
    )
    consumer = _consumer_of(name, flow, shared, seat=seat, rest_poll_s=rest_poll_s, lanes=lanes, membership=membership)
    tracing = _tracing_of(name, flow, shared)
    recorded = () if shared.recording is None else (shared.recording.observer(name),)
    observers = Observers(
        [metrics, backlog, tracing, recent, AttemptLog(flow=name), *recorded],
        flow=name,
        internal_errors=shared.metrics.internal_errors,
    )
    target = await _target_of(name, flow, shared, stack, gate)
    turns = Turns(
        lanes=lanes,
        gate=gate,
        quota=quota,
        target=target,
        policy=_policy_of(settings),
        consumer=consumer,
        tracing=tracing,
        observers=observers,
    )
    dispatcher = Dispatcher(
        flow=name,
        lanes=lanes,
        gate=gate,
        quota=quota,
        turns=turns,
        observers=observers,
        concurrency=concurrency_of(settings),
        attempt_max_s=settings.timeout_s if settings.oauth2_token_url is None else attempt_max_s(settings),
        held_max_s=held_max_s(settings),
    )
    membership.dispatcher = dispatcher
    quota.check_at_once = consumer.check_at_once
    recent.find_in_flight = dispatcher.find
    backlog.count_held = lambda: consumer.held
    metrics.follow(gate=gate, quota=quota, held=lambda: consumer.held, in_flight=lambda: dispatcher.in_flight)
    wired = Flow(
        name=name,
        lanes=lanes,
        consumer=consumer,
        target=target,
        gate=gate,
        quota=quota,
        dispatcher=dispatcher,
        backlog=backlog,
        queues=_queues_of(name, settings, metrics, consumer),
        drain_timeout_s=shared.settings.processor.drain_timeout_s,
    )
    shared.control.on_peer_message(name, wired.on_peer_message)
    return wired


async def _target_of(name: str, flow: FlowSettings, shared: Shared, stack: AsyncExitStack, gate: Gate) -> Target:
    if flow.handler.call is not None:
        return await _function_of(name, flow.handler, shared, stack, gate)
    return await _endpoint_of(name, flow.target, shared, stack, gate)


async def _function_of(
    name: str, handler: HandlerSettings, shared: Shared, stack: AsyncExitStack, gate: Gate
) -> FunctionTarget:
    return await open_function(
        handler,
        stack,
        flow=name,
        flows=shared.settings.all_flows,
        publish=shared.emit,
        metrics=FunctionMetrics(
            skipped=shared.metrics.inbox_skipped.labels(name),
            overrun=shared.metrics.handler_overrun.labels(name),
            loop_blocked=shared.metrics.loop_blocked.labels(name),
        ),
        watch=shared.loop_watch,
        on_awaited=gate.target_awaited,
    )


async def _endpoint_of(
    name: str, settings: TargetSettings, shared: Shared, stack: AsyncExitStack, gate: Gate
) -> Target:
    grant = Grant.of(settings)
    bearer = None if grant is None else Bearer()
    keeping = None if shared.recording is None else shared.recording.keeping
    target: LeanTarget | AiohttpTarget = await stack.enter_async_context(_client_of(name, settings, bearer, keeping))
    if grant is None or bearer is None:
        return target
    tls = ClientTls(settings.tls_files, make=context_for_tokens)
    endpoint = TokenEndpoint(grant, tls=lambda: tls.context, proxy=settings.http_proxy)
    tokens = Tokens(
        endpoint.fetch, flow=name, bearer=bearer, hide=target.judge.hide_token, on_awaited=gate.target_awaited
    )
    authorized = AuthorizedTarget(target, tokens)
    stack.push_async_callback(authorized.close)
    return authorized


def _client_of(
    name: str, settings: TargetSettings, bearer: Bearer | None, keeping: AnswerKeeping | None
) -> LeanTarget | AiohttpTarget:
    client: type[LeanTarget | AiohttpTarget] = LeanTarget if settings.client == "lean" else AiohttpTarget
    return client(
        url=settings.url or "",
        method=settings.method,
        form=request_form(settings, flow=name, bearer=bearer),
        headers=static_headers(settings, flow=name),
        timeout_s=settings.timeout_s,
        feedback=FeedbackReader(mode=settings.feedback, cost=settings.cost),
        success=success_rule(settings),
        tls=settings.tls_files,
        proxy=settings.http_proxy,
        keeping=keeping,
    )


def _quota_of(name: str, settings: TargetSettings, shared: Shared) -> Quota:
    return Quota(
        flow=name,
        instance=shared.control.instance,
        rate_per_s=settings.rate_per_s,
        burst=settings.burst,
        cost=settings.cost,
        broadcast=partial(shared.control.broadcast, name),
    )


def _gate_of(name: str, settings: TargetSettings, shared: Shared) -> Gate:
    return Gate(
        flow=name,
        instance=shared.control.instance,
        max_retry_after_s=settings.max_retry_after_s,
        broadcast=partial(shared.control.broadcast, name),
    )


def _policy_of(settings: TargetSettings) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=settings.max_attempts,
        delays_s=settings.retry_delays_s,
        max_retry_after_s=settings.max_retry_after_s,
    )


def _tracing_of(name: str, flow: FlowSettings, shared: Shared) -> DeliveryTracing:
    return DeliveryTracing(
        shared.tracer,
        flow=name,
        target_url=flow.attempts.url or "",
        method=flow.attempts.method,
        function=flow.handler.call,
        internal_errors=shared.metrics.internal_errors,
    )


def _consumer_of(
    name: str,
    flow: FlowSettings,
    shared: Shared,
    *,
    seat: Seat,
    rest_poll_s: float,
    lanes: Lanes,
    membership: Membership,
) -> Consumer:
    return Consumer(
        seat,
        flow=name,
        specs=flow_specs(name, flow.target.retry_delays_s),
        prefetch=prefetch_of(
            flow.attempts, configured=shared.settings.processor.prefetch, max_body_bytes=flow.source.max_body_bytes
        ),
        sink=lanes,
        publisher=shared.publisher,
        listener=membership,
        held_max_s=held_max_s(flow.attempts),
        rest_poll_s=rest_poll_s,
        presence=shared.presence,
    )


def _queues_of(name: str, settings: TargetSettings, metrics: FlowMetrics, consumer: Consumer) -> FlowQueues:
    """Return the queues that no processor consumes from."""
    names = (dead_queue(name), *(retry_queue(name, delay_s) for delay_s in settings.retry_delays_s))
    return FlowQueues(
        queues={queue: partial(metrics.set_backlog, queue.removeprefix(flow_prefix(name))) for queue in names},
        busy_at_s=lambda: consumer.busy_at_s,
    )
