"""Programs that accept events over HTTP."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import stage
from benchmarks.bench.contestants import go
from benchmarks.bench.contestants.names import AIO_PIKA_INGEST, FASTSTREAM_INGEST, OURS, SIGNED
from benchmarks.bench.figures import Known, MeasureError, Role, Sample
from benchmarks.bench.instruments import loopback, wrk
from benchmarks.bench.stage import LIVE_QUEUE, Body, Stage
from benchmarks.bench.watch import Watch
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess, wait_until

READY_WITHIN_S = 30.0
JSON = "application/json"
_API_KEY = "a-key-of-the-benchmark"
_SECRET = "a-secret-of-the-benchmark"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ingester:
    """Program that accepts events over HTTP.

    Attributes:
        headers: Headers of a request, besides its content type.
        queue: Queue for its events; None if it does not keep them.
        metrics_url: URL of its metrics; only ours has one.
    """

    name: str
    role: Role
    process: ChildProcess
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    signature_secret: str | None = None
    queue: str | None = None
    metrics_url: str | None = None
    known: Known | None = None

    def headers_for(self, body: bytes, *, content_type: str = JSON) -> dict[str, str]:
        """Return all headers of a request with this body."""
        headers = {"Content-Type": content_type, **self.headers}
        if self.signature_secret is not None:
            digest = hmac.new(self.signature_secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = f"sha256={digest}"
        return headers

    def accepts(self, body: bytes) -> bool:
        """Return whether it accepts an event now."""
        try:
            loopback.post(self.url, body, self.headers_for(body))
        except OSError:
            return False
        return True

    def load(self, here: Stage, body: Path, headers: Mapping[str, str], *, connections: int, events: int = 1) -> Sample:
        """Send requests as fast as they are answered, and return the accepted events per second.

        Args:
            body: File with the body of a request.
            events: Number of events in a request.

        Raises:
            MeasureError: The program refused a request or broke a connection.
        """
        watch = Watch(self.process)
        try:
            answered = wrk.load(self.url, body=body, headers=headers, connections=connections, for_s=here.plan.for_s)
        except MeasureError as error:
            raise MeasureError(f"{self.name}, {connections} connections, {body.name}: {error}") from error
        return watch.sample(events * answered.per_s, events=events * answered.requests)


@contextmanager
def running(ingesters: list[Ingester], body: Body) -> Iterator[None]:
    """Start programs and wait until each accepts events; they end with the context.

    Raises:
        MeasureError: A program did not start.
    """
    with ExitStack() as stack:
        for ingester in ingesters:
            ingester.process.start()
            stack.callback(ingester.process.kill)
        for ingester in ingesters:
            wait_ready(ingester, body)
        yield


def wait_ready(ingester: Ingester, body: Body) -> None:
    """Wait until a program accepts events.

    Raises:
        MeasureError: The program did not start.
    """
    process = ingester.process
    try:
        wait_until(
            lambda: ingester.accepts(body.content) or not process.alive, timeout_s=READY_WITHIN_S, what=ingester.name
        )
    except TimeoutError as error:
        raise MeasureError(process.explain(str(error))) from error
    if not process.alive:
        raise MeasureError(process.explain(f"{ingester.name} ended with {process.returncode}"))


def collector(here: Stage, *, name: str = OURS, within: Sequence[str] = (), **settings: str) -> Ingester:
    """Prepare our collector.

    Args:
        within: Module that runs it, if it does not run by itself.
        settings: More variables of its environment.
    """
    port, admin_port = free_port(), free_port()
    environment = {
        "EVENTFLOW_BROKER__URL": here.broker_url,
        "EVENTFLOW_COLLECTOR__PORT": str(port),
        "EVENTFLOW_COLLECTOR__ADMIN_PORT": str(admin_port),
        "EVENTFLOW_SOURCE__API_KEYS": _API_KEY,
        **here.traces,
        **settings,
    }
    return Ingester(
        name=name,
        role=Role.OURS,
        process=stage.own(name, *within, "eventflow_collector", **environment),
        url=f"http://{LOOPBACK}:{port}/events",
        headers={"X-Api-Key": _API_KEY},
        signature_secret=settings.get("EVENTFLOW_SOURCE__SECRETS"),
        queue=LIVE_QUEUE,
        metrics_url=f"http://{LOOPBACK}:{admin_port}/metrics",
    )


def github_collector(here: Stage) -> Ingester:
    """Prepare our collector with GitHub's signature."""
    return collector(
        here,
        name=SIGNED,
        EVENTFLOW_SOURCE__VERIFY="github",
        EVENTFLOW_SOURCE__SECRETS=_SECRET,
    )


def ceiling() -> Ingester:
    """Prepare an aiohttp server that keeps nothing."""
    return _peer_ingester("aiohttp answering 202, no broker", "aiohttp_ingest", "", role=Role.CEILING, known=None)


def peers(here: Stage) -> list[Ingester]:
    """Prepare the peers of the collector in Python."""
    url = here.broker_url
    return [
        _peer_ingester(
            AIO_PIKA_INGEST, "aio_pika_ingest", url, queue="peer.aio-pika", known=Known(least=3200, most=6000)
        ),
        _peer_ingester(
            FASTSTREAM_INGEST, "faststream_ingest", url, queue="peer.faststream", known=Known(least=3000, most=3000)
        ),
        _peer_ingester("FastAPI + Celery", "celery_ingest", url, queue="peer.celery", known=Known(least=780, most=780)),
    ]


def _peer_ingester(
    name: str, module: str, broker_url: str, *, role: Role = Role.PEER, queue: str | None = None, known: Known | None
) -> Ingester:
    port = free_port()
    process = stage.peer(name, f"benchmarks.peers.{module}", PEER_AMQP_URL=broker_url, PEER_PORT=str(port))
    return Ingester(
        name=name, role=role, process=process, url=f"http://{LOOPBACK}:{port}/events", queue=queue, known=known
    )


def go_peers(here: Stage) -> list[Ingester]:
    """Prepare the peer in Go, with the threads that it likes and with one; nothing if there is no Go here."""
    ports = {name: str(free_port()) for name in go.THREADS}
    return [
        Ingester(
            name=name,
            role=Role.PEER,
            process=go.process(name, here.go_peer, "ingest", PEER_AMQP_URL=here.broker_url, PEER_PORT=port),
            url=f"http://{LOOPBACK}:{port}/events",
            queue=go.QUEUE,
        )
        for name, port in ports.items()
        if here.go_peer is not None
    ]
