"""Programs that deliver events from a queue to a target."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import stage
from benchmarks.bench.contestants import go
from benchmarks.bench.contestants.names import AIO_PIKA_DELIVERY, FASTSTREAM_DELIVERY, OURS
from benchmarks.bench.figures import Known, Role
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, Stage
from eventflow.topology import DEFAULT_FLOW, ingest_specs
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess

_FAST_PER_S = 18_000
_FASTEST_PER_S = 40_000
"""For the peer in Go, which delivers more than 35 000 events a second on a fast machine."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deliverer:
    """Program that delivers events from a queue to the target.

    Attributes:
        shape: Shape of its messages, a key of `messages.SHAPES`.
        queue: Queue with its events; None if it generates them.
        most_per_s: Events that are queued for each second of the measurement. A faster program, by up to a half, is
            measured for a shorter time.
        metrics_url: Its metrics, if it is ours.
    """

    name: str
    role: Role
    process: ChildProcess
    shape: str = "plain"
    queue: str | None = None
    most_per_s: int
    known: Known | None = None
    metrics_url: str = ""


def processor(
    here: Stage, target_url: str, *, name: str = OURS, within: Sequence[str] = (), **settings: str
) -> Deliverer:
    """Prepare our processor.

    Args:
        within: Module that runs it, if it does not run by itself.
        settings: More variables of its environment.
    """
    admin_port = free_port()
    environment = {
        "EVENTFLOW_BROKER__URL": here.broker_url,
        "EVENTFLOW_PROCESSOR__ADMIN_PORT": str(admin_port),
        "EVENTFLOW_TARGET__URL": f"{target_url}/",
        **here.traces,
        **settings,
    }
    process = stage.own(name, *within, "eventflow_processor", **environment)
    return Deliverer(
        name=name,
        role=Role.OURS,
        process=process,
        shape="ours",
        queue=LIVE_QUEUE,
        most_per_s=_FAST_PER_S,
        metrics_url=f"http://{LOOPBACK}:{admin_port}/metrics",
    )


def ceiling(target_url: str, body: Path) -> Deliverer:
    """Prepare aiohttp's client, which posts until it is killed."""
    name = "aiohttp's client alone"
    process = stage.peer(
        name, "benchmarks.peers.aiohttp_delivery", str(body), PEER_AMQP_URL="", PEER_TARGET_URL=target_url
    )
    return Deliverer(name=name, role=Role.CEILING, process=process, most_per_s=3 * _FAST_PER_S)


def peers(here: Stage, target_url: str) -> list[Deliverer]:
    """Prepare the peers of the processor in Python."""
    environment = {"PEER_AMQP_URL": here.broker_url, "PEER_TARGET_URL": f"{target_url}/"}
    celery_options = ("-A", "benchmarks.peers.celery_app", "worker", "--pool", "threads", "--concurrency", "64")
    return [
        Deliverer(
            name=AIO_PIKA_DELIVERY,
            role=Role.PEER,
            process=stage.peer("aio-pika", "benchmarks.peers.aio_pika_delivery", **environment),
            queue="peer.aio-pika",
            most_per_s=8_000,
            known=Known(least=3500, most=5000),
        ),
        Deliverer(
            name=FASTSTREAM_DELIVERY,
            role=Role.PEER,
            process=stage.peer("FastStream", "benchmarks.peers.faststream_delivery", **environment),
            queue="peer.faststream",
            most_per_s=5_000,
            known=Known(least=1700, most=1700),
        ),
        Deliverer(
            name="Celery + requests",
            role=Role.PEER,
            process=stage.peer("Celery", "celery", *celery_options, "--without-gossip", **environment),
            queue="peer.celery",
            shape="celery",
            most_per_s=4_000,
        ),
    ]


def go_peers(here: Stage, target_url: str) -> list[Deliverer]:
    """Prepare the peer in Go, with the threads that it likes and with one; nothing if there is no Go here."""
    environment = {"PEER_AMQP_URL": here.broker_url, "PEER_TARGET_URL": f"{target_url}/"}
    return [
        Deliverer(
            name=name,
            role=Role.PEER,
            process=go.process(name, here.go_peer, "deliver", **environment),
            queue=go.QUEUE,
            most_per_s=_FASTEST_PER_S,
        )
        for name in go.THREADS
        if here.go_peer is not None
    ]


def declare(wire: Wire, deliverer: Deliverer) -> None:
    """Declare the queue of a program, in the same way as the program itself."""
    if deliverer.role is Role.OURS:
        for spec in ingest_specs(DEFAULT_FLOW):
            wire.declare(spec.name, spec.arguments)
    elif deliverer.queue is not None:
        wire.declare(deliverer.queue, {"x-queue-type": "quorum"})
