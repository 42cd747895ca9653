"""Ground of all measurements: a private broker, programs as processes, and bodies of real webhooks."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench.figures import MeasureError
from sandbox.broker.node import PrivateNode, temporary_node
from sandbox.ports import LOOPBACK, accepts, free_port
from sandbox.processes import ChildProcess, scrubbed_environment, wait_until

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
        few_rounds: Rounds of all other cases.
        for_s: Length of one measurement; whole seconds, because wrk accepts no others.
        backlogs: Numbers of queued events, starting with none.
    """

    rounds: int = 9
    few_rounds: int = 5
    for_s: float = 2.0
    backlogs: tuple[int, ...] = (0, 100_000, 1_000_000)


QUICK = Plan(rounds=1, few_rounds=1, for_s=1.0, backlogs=(0, 20_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Surroundings of the measurements.

    Attributes:
        traces: Variables with which a service sends the traces of 1 % of the events, to a receiver that drops them.
        show_step: Shows the current step.
    """

    node: PrivateNode
    plan: Plan
    traces: Mapping[str, str]
    show_step: Callable[[str], None]

    @property
    def broker_url(self) -> str:
        """AMQP URL of the private node, with its login."""
        return self.node.url


@contextmanager
def sink() -> Iterator[str]:
    """Yield the URL of a running target that costs almost nothing."""
    port = free_port()
    with own("target", "benchmarks.bench.instruments.sink", str(port)):
        wait_until(lambda: accepts(LOOPBACK, port), timeout_s=SINK_WITHIN_S, what="the target")
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def opened(plan: Plan, show_step: Callable[[str], None]) -> Iterator[Stage]:
    """Yield a stage. Its broker ends with the context."""
    show_step("starting a broker")
    with temporary_node() as node, sink() as traces_url:
        yield Stage(node=node, plan=plan, traces=SAMPLED | {TRACES_URL: traces_url}, show_step=show_step)


def own(name: str, module: str, *arguments: str, **environment: str) -> ChildProcess:
    """Prepare a Python module of this repository as a process."""
    return _program(name, Path(sys.executable), ["-m", module, *arguments], environment)


def peer(name: str, module: str, *arguments: str, **environment: str) -> ChildProcess:
    """Prepare a program with the libraries of the peers' virtual environment.

    Raises:
        MeasureError: That environment does not exist.
    """
    if not PEERS_PYTHON.exists():
        raise MeasureError(f"{PEERS_PYTHON.relative_to(ROOT)} does not exist; `make bench` creates it")
    return _program(name, PEERS_PYTHON, ["-m", module, *arguments], environment)


def _program(name: str, python: Path, arguments: list[str], environment: Mapping[str, str]) -> ChildProcess:
    return ChildProcess(name, [python, *arguments], env={**scrubbed_environment(), **environment}, cwd=ROOT)
