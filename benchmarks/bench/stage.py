"""What all measurements stand on: a broker of their own, programs as processes, bodies of real webhooks."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench.figures import MeasureError
from sandbox.broker.node import PrivateNode
from sandbox.ports import LOOPBACK, accepts, free_port
from sandbox.processes import ChildProcess, wait_until

SINK_WITHIN_S = 30.0
TRACES_URL = "OTEL_EXPORTER_OTLP_ENDPOINT"
SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
"""As docs/operations.md advises for production."""

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
    """How long and how often to measure.

    Attributes:
        rounds: Of the cases that count most; others have `few_rounds`.
        for_s: One measurement; whole seconds, since wrk takes no others.
        backlogs: Events queued, from none on.
    """

    rounds: int = 9
    few_rounds: int = 5
    for_s: float = 2.0
    backlogs: tuple[int, ...] = (0, 100_000, 1_000_000)


QUICK = Plan(rounds=1, few_rounds=1, for_s=1.0, backlogs=(0, 20_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where measurements take place.

    Attributes:
        traces: Variables that let a service send the traces of 1 % of the events, to somebody who drops them.
        tell: Is told what is being measured.
    """

    node: PrivateNode
    plan: Plan
    traces: Mapping[str, str]
    tell: Callable[[str], None]

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
def opened(plan: Plan, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Yield a stage; its broker ends with the context."""
    with tempfile.TemporaryDirectory(prefix="eventflow-bench-", ignore_cleanup_errors=True) as directory:
        node = PrivateNode(Path(directory))
        tell("starting a broker")
        node.start()
        try:
            with sink() as traces_url:
                yield Stage(node=node, plan=plan, traces=SAMPLED | {TRACES_URL: traces_url}, tell=tell)
        finally:
            node.kill()  # its data go anyway


def own(name: str, module: str, *arguments: str, **environment: str) -> ChildProcess:
    """Prepare a program of this repository."""
    return _program(name, Path(sys.executable), ["-m", module, *arguments], environment)


def peer(name: str, module: str, *arguments: str, **environment: str) -> ChildProcess:
    """Prepare a program whose libraries are in the peers' virtual environment.

    Raises:
        MeasureError: There is none.
    """
    if not PEERS_PYTHON.exists():
        raise MeasureError(f"{PEERS_PYTHON.relative_to(ROOT)} is not there; `make bench` makes it")
    return _program(name, PEERS_PYTHON, ["-m", module, *arguments], environment)


def _program(name: str, python: Path, arguments: list[str], environment: Mapping[str, str]) -> ChildProcess:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("EVENTFLOW_", "OTEL_"))}
    return ChildProcess(name, [python, *arguments], env={**inherited, **environment}, cwd=ROOT)
