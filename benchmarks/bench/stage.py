"""Ground of all measurements: a private broker, programs as processes, and bodies of real webhooks."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.bench.figures import MeasureError
from benchmarks.bench.instruments.wire import Wire
from eventflow.topology import DEFAULT_FLOW, Lane, lane_queue
from sandbox.broker.node import PrivateNode, temporary_node
from sandbox.broker.provision import urls_in
from sandbox.ports import LOOPBACK, accepts, free_port
from sandbox.processes import ChildProcess, scrubbed_environment, wait_until

LIVE_QUEUE = lane_queue(DEFAULT_FLOW, Lane.LIVE)
SINK_WITHIN_S = 30.0
TRACES_URL = "OTEL_EXPORTER_OTLP_ENDPOINT"
SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
"""Recommended for production in docs/operations.md."""

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_WEBHOOKS = ROOT / "tests" / "data" / "webhooks" / "github"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A webhook's body."""

    title: str
    path: Path

    @property
    def content(self) -> bytes:
        """Bytes of the file, read anew at each call."""
        return self.path.read_bytes()


SMALL = Body(title="0.3 kB", path=ROOT / "sandbox" / "source" / "samples" / "refunds-create.shopify.json")
MIDDLE = Body(title="3 kB", path=_WEBHOOKS / "organization.member_added.payload.json")
LARGE = Body(title="30 kB", path=_WEBHOOKS / "pull_request_review.dismissed.payload.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Number and length of the measurements.

    Attributes:
        rounds: Rounds of the most important cases.
        few_rounds: Rounds of most other cases.
        side_rounds: Rounds of cases that no goal refers to.
        for_s: Length of one measurement; whole seconds, because wrk accepts no others.
        backlogs: Numbers of queued events, starting with none.
        soak_min: Length of the soak, in minutes.
    """

    rounds: int = 9
    few_rounds: int = 5
    side_rounds: int = 3
    for_s: float = 2.0
    backlogs: tuple[int, ...] = (0, 100_000, 1_000_000)
    soak_min: int = 20


QUICK = Plan(rounds=1, few_rounds=1, side_rounds=1, for_s=1.0, backlogs=(0, 20_000), soak_min=3)


class ShowStep(Protocol):
    """Display of the progress."""

    def __call__(self, step: str, *, share: float | None = None) -> None:
        """Show the current step, and the done share of a long one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Surroundings of the measurements.

    Attributes:
        broker_url: AMQP URL, with its login.
        broker_version: Version of RabbitMQ.
        node: Broker that the benchmark started; None if it uses the broker that the environment names.
        go_peer: Program of the peer in Go; None if it cannot be built here.
        traces: Variables with which a service sends the traces of 1 % of the events, to a receiver that drops them.
    """

    broker_url: str
    broker_version: str
    node: PrivateNode | None
    plan: Plan
    go_peer: Path | None
    traces: Mapping[str, str]
    show_step: ShowStep


@contextmanager
def sink(*options: str) -> Iterator[str]:
    """Yield the URL of a running target that costs almost nothing; `options` are more arguments of the instrument."""
    port = free_port()
    with own("target", "benchmarks.bench.instruments.sink", str(port), *options):
        wait_until(lambda: accepts(LOOPBACK, port), timeout_s=SINK_WITHIN_S, what="the target")
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def opened(plan: Plan, show_step: ShowStep, *, go_peer: Path | None) -> Iterator[Stage]:
    """Yield a stage, with the broker that EVENTFLOW_BROKER__URL names or with a private one that ends with the context.

    Raises:
        MeasureError: The named broker does not answer.
        NodeError: The private broker did not start.
    """
    show_step("starting a broker")
    with _broker() as (url, node), sink() as traces_url:
        with Wire(url) as wire:
            version = wire.broker_version
        yield Stage(
            broker_url=url,
            broker_version=version,
            node=node,
            plan=plan,
            go_peer=go_peer,
            traces=SAMPLED | {TRACES_URL: traces_url},
            show_step=show_step,
        )


@contextmanager
def _broker() -> Iterator[tuple[str, PrivateNode | None]]:
    urls = urls_in(os.environ)
    if urls:
        _require_empty(urls[0])
        yield urls[0], None
        return
    with temporary_node() as node:
        yield node.url, node


def _require_empty(url: str) -> None:
    """Refuse a broker with events, because the measurements delete what is queued.

    Raises:
        MeasureError: The broker has events, or cannot be reached.
    """
    try:
        with Wire(url) as wire:
            queued = wire.depth(LIVE_QUEUE) if wire.has(LIVE_QUEUE) else 0
    except OSError as error:
        raise MeasureError(f"the broker cannot be reached: {error}") from error
    if queued:
        raise MeasureError(f"{LIVE_QUEUE} has {queued} events, which the benchmark would delete: use another broker")


def own(name: str, module: str, *arguments: str, **environment: str) -> ChildProcess:
    """Prepare a Python module of this repository as a process."""
    return program(name, Path(sys.executable), ["-m", module, *arguments], environment)


def peer(name: str, module: str, *arguments: str, **environment: str) -> ChildProcess:
    """Prepare a program with the libraries of the peers' virtual environment.

    Raises:
        MeasureError: That environment does not exist.
    """
    if not PEERS_PYTHON.exists():
        raise MeasureError(f"{PEERS_PYTHON.relative_to(ROOT)} does not exist; `make bench` creates it")
    return program(name, PEERS_PYTHON, ["-m", module, *arguments], environment)


def program(name: str, path: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> ChildProcess:
    """Prepare a program as a process. It does not inherit variables that configure a service or its telemetry."""
    return ChildProcess(name, [path, *arguments], env={**scrubbed_environment(), **environment}, cwd=ROOT)
