"""The parts of the relay together. This needs the extra `postgres`, so it is imported after the guards."""

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial

import structlog

from eventflow.amqp.publisher import Publisher
from eventflow.database.connections import connections_to
from eventflow.network.broker_tls import require_sound_urls
from eventflow.postgres.connection import place_of
from eventflow.service import admin, lifecycle
from eventflow.service.instance import name_instance
from eventflow.service.supervision import supervised
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.metrics import exposition_of
from eventflow.telemetry.tracers import tracer_for
from eventflow.topology import ingest_specs
from eventflow_relay.metrics import RelayMetrics
from eventflow_relay.readiness import readiness_of
from eventflow_relay.relay import Relay
from eventflow_relay.sending import Sender

log = structlog.stdlib.get_logger()


async def serve(settings: Settings, database_url: str, *, service: str) -> None:
    """Run the relay until SIGTERM or SIGINT, then finish its batch.

    Raises:
        EventFlowError: It cannot continue.
    """
    require_sound_urls(settings.broker.urls)
    stop = lifecycle.stop_requested()
    metrics = RelayMetrics()
    async with AsyncExitStack() as stack:
        tracer = tracer_for(service)
        stack.push_async_callback(tracer.close)
        connections = connections_to(database_url, application=service)
        stack.push_async_callback(connections.close)
        publisher = _publisher_of(settings, name=f"{name_instance(service)} publish")
        sender = Sender(
            publisher, flows=settings.all_flows.keys(), tracer=tracer, internal_errors=metrics.internal_errors
        )
        relay = Relay(connections, publisher, sender, metrics=metrics, settings=settings.relay)
        port = await stack.enter_async_context(
            admin.serve(
                settings.relay,
                setting="EVENTFLOW_RELAY__ADMIN_PORT",
                readiness=partial(readiness_of, relay, publisher, stop),
                exposition=exposition_of(metrics.registry),
                refresh=partial(metrics.look, connections),
            )
        )
        log.info("relay.started", database=place_of(database_url), admin_port=port, pid=os.getpid())
        await stack.enter_async_context(supervised())
        publishing = asyncio.create_task(publisher.run())
        stack.push_async_callback(cancel_and_wait, publishing)
        relaying = asyncio.create_task(relay.run(stop))
        stack.push_async_callback(cancel_and_wait, relaying)
        await lifecycle.until_stopped(stop, publishing, relaying)
        await relaying  # the publisher runs on, so that the last batch gets its confirms
    log.info("relay.stopped")


def _publisher_of(settings: Settings, *, name: str) -> Publisher:
    # The queues of the collector, with which the relay shares its rights: it publishes, and reads no event.
    specs = [spec for flow in settings.all_flows for spec in ingest_specs(flow)]
    return Publisher(settings.broker.urls, specs=specs, name=name)
