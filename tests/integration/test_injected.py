"""Errors of our own code between a request's admission and its answer: from every call, one after the other."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog

from eventflow.amqp.publish_channel import Publication
from eventflow.service.lifecycle import Stop
from eventflow.settings.load import load
from eventflow.telemetry import logging
from eventflow.telemetry.tracing import NO_ATTRIBUTES, Attributes
from eventflow.topology import Lane, lane_queue
from eventflow_collector.durable import DurableWriter
from eventflow_collector.server.connection import Connection
from eventflow_collector.server.protocol import ProblemProtocol
from eventflow_collector.server.worker import Worker
from sandbox.ports import free_port
from tests.support.aiohttp_alone import aiohttp_alone
from tests.support.amqp import Amqp
from tests.support.injector import Injector
from tests.support.services import API_KEY
from tests.support.wait import eventually

KEY = {"X-Api-Key": API_KEY}
LINES = {"Content-Type": "application/x-ndjson"}
TELEMETRY = (
    *("eventflow_collector.metrics", "eventflow.telemetry", "prometheus_client", "structlog", "logging", __name__),
    *(
        "eventflow_collector.tracing.publishing",
        "eventflow_collector.tracing._to_queue",
    ),
)
GUARD = (
    "eventflow_collector.intake.budget.Reservation.release",
    "eventflow_collector.intake.budget.ByteBudget.release",
    "eventflow_collector.durable._Sending._resolved",
)
"""These give back. An error from the very call that gives back cannot be made good by another call."""
OUTERMOST = "eventflow.telemetry.harmless.harmless.<locals>.guarded"
"""The guard around telemetry. It cannot guard against an error from its own call."""

WAYS = {"own": Connection, "aiohttp": aiohttp_alone}


class RecordingSpan:
    """A span of a tracer that records each request."""

    traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    trace_id = "1" * 32

    def child(self, *_: object, **__: object) -> "RecordingSpan":
        return RecordingSpan()

    def note(self, _: Attributes) -> None:
        pass

    def end(self, **_: object) -> None:
        pass


class RecordingTracer:
    """Records all, and exports nothing."""

    def start(
        self,
        name: str,
        *,
        kind: str,
        parent: str | None,
        linked: str | None = None,
        attributes: Attributes = NO_ATTRIBUTES,
        started_at_ns: int | None = None,
    ) -> RecordingSpan:
        return RecordingSpan()

    async def close(self) -> None:
        pass


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[tuple[Worker, str]]:
    """Run a worker in this process, where its calls can be seen; yields its URL too."""
    previous = structlog.get_config()
    logging.configure(service="collector", log_format="json", level="debug")
    structlog.configure(cache_logger_on_first_use=False)  # a cached logger would keep this configuration in later tests
    os.environ.update({f"EVENTFLOW_{name}": value for name, value in settings.items()})
    stop = Stop(delay_s=0)
    worker = Worker(load(), RecordingTracer(), stop, descriptors=1024)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        task = asyncio.create_task(worker.run(listener))
        try:
            yield worker, url
        finally:
            stop.request()
            await task
            structlog.configure(**previous)


def give_back(worker: Worker) -> None:
    budget = worker._ingest._budget
    budget.release(budget.held_bytes)


def internal_errors(worker: Worker) -> float:
    samples = [sample for metric in worker.metrics.internal_error_count.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name == "eventflow_internal_errors_total")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("means", "headers", "body", "status"),
    [
        ("broker", KEY, b"{}", 202),
        ("broker", {**KEY, **LINES}, b"1\n2\n", 202),
        ("broker", {"X-Api-Key": "wrong"}, b"{}", 401),
        ("broker", {**KEY, **LINES}, b"nonsense", 400),
        ("spool", KEY, b"{}", 202),
        ("nothing", KEY, b"{}", 503),
    ],
)
# Coroutines that were made, then not run.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_error_from_any_call_holds_nothing_and_the_next_request_is_served(
    broker_url: str,
    flow: str,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    way: str,
    means: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unguarded on 0.1.0: an error of a tracer, a metric or a log line made 500 of an event that was safe.

    The budget has room for one event, so a reservation that is still held refuses the next request.
    """
    for name in ("BROKER__URL", "COLLECTOR__MAX_IN_FLIGHT_BYTES", "COLLECTOR__SPOOL_DIR", "SOURCE__API_KEYS"):
        monkeypatch.setenv(f"EVENTFLOW_{name}", "")  # so that it is taken back at the end
    settings = {
        "BROKER__URL": broker_url if means == "broker" else f"amqp://127.0.0.1:{free_port()}/",
        "COLLECTOR__MAX_IN_FLIGHT_BYTES": "5000",
        "COLLECTOR__SPOOL_DIR": str(tmp_path / "spool") if means == "spool" else "",
        "SOURCE__API_KEYS": API_KEY,
    }
    monkeypatch.setattr("eventflow_collector.server.worker.Connection", WAYS[way])
    plain = 503 if means == "nothing" else 202
    async with running(**settings) as (worker, url):

        async def ready() -> bool:
            state = worker.readiness()
            return state.ready or (means == "nothing" and "broker" in state.details)

        await eventually(ready, what="the collector ready")

        async def post(given: dict[str, str], content: bytes) -> int | None:
            try:
                async with http.post(f"{url}/events", data=content, headers=given) as answer:
                    await answer.read()
                    return answer.status
            except aiohttp.ClientError:  # an error in writing the answer ends the connection
                return None

        assert await post(headers, body) == status
        seen, errors, at = {}, internal_errors(worker), 0
        while True:
            at += 1
            injector = Injector(
                inside=[
                    Connection.data_received,
                    ProblemProtocol._handle_request,  # to the end of the answer
                    Publication.resolve,
                    DurableWriter._keep,
                ],
                packages=["eventflow_collector", "eventflow"],
                at=at,
            )
            with injector:
                answered = await post(headers, body)
            if injector.raised_from is None:
                assert answered == status
                break
            if injector.raised_from in GUARD:
                give_back(worker)
                continue
            seen[f"{at} {injector.raised_from}"] = answered
            is_telemetry = injector.raised_from.startswith(TELEMETRY) and injector.raised_from != OUTERMOST
            assert answered in ({status} if is_telemetry else {status, 500, None}), injector.raised_from

            async def next_is_served() -> bool:  # once the broker has confirmed a publish of the failed request
                return await post(KEY, b"{}") == plain

            await eventually(next_is_served, what=f"an answer after an error in {injector.raised_from}")
            is_logged = injector.raised_from.startswith("eventflow.telemetry.logging")  # the logging module handles it
            if answered == 500 or (is_telemetry and not is_logged):
                assert internal_errors(worker) > errors, injector.raised_from
            errors = internal_errors(worker)
    assert len(seen) > 10


@pytest.mark.parametrize("way", WAYS)
# Coroutines that were made, then not run.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_error_from_any_call_leaves_no_id_in_the_dedup_window_without_its_event(
    broker_url: str, flow: str, http: aiohttp.ClientSession, amqp: Amqp, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_flow = f"FLOWS__{flow.upper()}__SOURCE__"
    settings = {"BROKER__URL": broker_url, f"{of_flow}API_KEYS": API_KEY, f"{of_flow}DEDUP_S": "600"}
    for name in settings:
        monkeypatch.setenv(f"EVENTFLOW_{name}", "")  # so that it is taken back at the end
    monkeypatch.setattr("eventflow_collector.server.worker.Connection", WAYS[way])
    async with running(**settings) as (worker, url):
        await eventually(lambda: worker.readiness().ready, what="the collector ready")

        async def post(event_id: str) -> int | None:
            try:
                headers = {**KEY, "Idempotency-Key": event_id}
                async with http.post(f"{url}/events/{flow}", data=b"{}", headers=headers) as answer:
                    await answer.read()
                    return answer.status
            except aiohttp.ClientError:
                return None

        ids: list[str] = []
        while True:
            ids.append(f"event-{len(ids)}")
            injector = Injector(
                inside=[Connection.data_received, ProblemProtocol._handle_request, Publication.resolve],
                packages=["eventflow_collector", "eventflow"],
                at=len(ids),
            )
            with injector:
                await asyncio.gather(post(ids[-1]), post(ids[-1]))  # a twin too, which must be answered
            assert await post(ids[-1]) == 202, f"a repeat after an error in {injector.raised_from}"
            if injector.raised_from is None:
                break
        assert len(ids) > 10
        assert not worker._dedup_writers[flow]._pending
        queued = {message.headers["cloudEvents:id"] for message in await amqp.drain(lane_queue(flow, Lane.LIVE))}
    assert queued == set(ids)
