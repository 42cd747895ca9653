"""The installation of a run: a private broker, collectors and processors, all with the same flows."""

import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.scale.figures import Parts, Size
from eventflow.topology import CONTROL_EXCHANGE
from sandbox.broker.node import PrivateNode
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess, scrubbed_environment

READY_WITHIN_S = 1200.0
POLL_S = 0.2
BROKER_SETTINGS = {
    "vm_memory_high_watermark.absolute": "6GB",
    "raft.wal_max_size_bytes": "134217728",  # as in deploy/rabbitmq/rabbitmq.conf
    # As between two machines. Linux gives a socket on loopback buffers of 2.6 MB, and RabbitMQ adds one as large.
    "tcp_listen_options.sndbuf": "131072",
    "tcp_listen_options.recbuf": "131072",
}
MEMORY_DIRECTORY = Path("/dev/shm")
MEMORY_DIRECTORY_FREE_BYTES = 4 << 30

LOG_ENTRIES = "lists:sum([element(6, M) || M <- ets:tab2list(ra_metrics)])."
"""Expression in Erlang: the sum of the last written index of every log. RabbitMQ's own metrics use this field."""

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A collector or processor as a process."""

    process: ChildProcess
    admin_port: int

    def is_ready(self) -> bool:
        """Return whether it is ready now.

        Raises:
            RuntimeError: It has ended.
        """
        if not self.process.alive:
            raise RuntimeError(f"{self.process.name} ended: {' '.join(self.process.tail(3))}")
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin_port}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError):
            return False


@dataclass(slots=True, kw_only=True)
class Stage:
    """A broker and the services on it.

    Attributes:
        node: The broker.
        show_step: Shows the current step.
    """

    node: PrivateNode
    size: Size
    show_step: Step
    configuration: Path
    stack: ExitStack
    collectors: list[Service] = field(default_factory=list)
    processors: list[Service] = field(default_factory=list)

    def start_collectors(self, count: int) -> float:
        """Start collectors, and return the time until all are ready."""
        return self._start("collector", count, self.collectors)

    def start_processors(self, count: int) -> float:
        """Start processors, and return the time until all are ready."""
        return self._start("processor", count, self.processors)

    def parts(self) -> Parts:
        """Count the parts in the broker."""
        totals = self.node.management_get("overview")["object_totals"]
        return Parts(
            queues=totals["queues"],
            connections=totals["connections"],
            channels=totals["channels"],
            consumers=totals["consumers"],
            files=len(list(Path(f"/proc/{self.node.pid}/fd").iterdir())),
        )

    def broker_bytes(self) -> int:
        """Return the memory of the broker after a garbage collection."""
        # The write-ahead log is in memory too, until it is full. This writes it out.
        self.node.ctl("eval", "ra_log_wal:force_roll_over(ra_log_wal).")
        self.node.ctl("force_gc", timeout_s=120)
        return int(self.node.ctl("eval", "erlang:memory(total)."))

    def requests(self) -> int:
        """Return the number of reads from all connections that are open now."""
        listed = self.node.ctl("-q", "--formatter", "json", "list_connections", "recv_cnt", timeout_s=120)
        return sum(int(each["recv_cnt"]) for each in json.loads(listed))

    def log_entries(self) -> int:
        """Return the number of entries in the logs of all quorum queues since their declaration."""
        return int(self.node.ctl("eval", LOG_ENTRIES))

    def control_messages(self) -> int:
        """Return the number of messages that were published on the control exchange."""
        found = self.node.management_get(f"exchanges/%2F/{CONTROL_EXCHANGE}") or {}
        return int(found.get("message_stats", {}).get("publish_in", 0))

    def _start(self, kind: str, count: int, services: list[Service]) -> float:
        began_s = time.monotonic()
        started = [self._service(kind) for _ in range(count)]
        services += started
        deadline_s = began_s + READY_WITHIN_S
        while waiting := sum(not service.is_ready() for service in started):
            self.show_step(f"{waiting} of {count} {kind}s not ready after {time.monotonic() - began_s:.0f} s")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{waiting} of {count} {kind}s were not ready within {READY_WITHIN_S:g} s")
            time.sleep(POLL_S)
        return time.monotonic() - began_s

    def _service(self, kind: str) -> Service:
        admin_port = free_port()
        settings: dict[str, object] = {
            "BROKER__URL": self.node.url,
            f"{kind.upper()}__ADMIN_PORT": admin_port,
            "TELEMETRY__LOG_LEVEL": "warning",
        }
        if kind == "collector":
            settings["COLLECTOR__PORT"] = free_port()
        environment = scrubbed_environment() | {f"EVENTFLOW_{name}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", f"eventflow_{kind}", "--config", str(self.configuration)]
        process = ChildProcess(kind, command, env=environment)
        self.stack.enter_context(process)
        return Service(process=process, admin_port=admin_port)


@contextmanager
def opened(size: Size, *, show_step: Step) -> Iterator[Stage]:
    """Yield a stage with a broker and without services. Everything that it starts ends with the context."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(_temporary_directory()))
        configuration = directory / "eventflow.toml"
        configuration.write_text(configuration_of(size), encoding="utf-8")
        node = PrivateNode(directory / "broker", settings=BROKER_SETTINGS)
        show_step("starting the broker")
        node.start()
        stack.callback(node.kill)
        yield Stage(node=node, size=size, show_step=show_step, configuration=configuration, stack=stack)


def configuration_of(size: Size) -> str:
    """Return the settings of all flows as TOML."""
    delays = [1, 5, 30, 120, 600, 3600][: size.retry_delays]
    return "\n".join(_flow(f"f{number:04}", delays) for number in range(size.flows))


def _flow(name: str, delays: Sequence[int]) -> str:
    return (
        f"[flows.{name}.source]\nallow_unauthenticated = true\n"
        f'[flows.{name}.target]\nurl = "http://{LOOPBACK}:9/"\nrate_per_s = 5\nretry_delays_s = {delays}\n'
    )


def _temporary_directory() -> TemporaryDirectory[str]:
    """Make a directory in memory if it has room, because each queue is written to disk when it is declared."""
    in_memory = None
    with suppress(OSError):
        if shutil.disk_usage(MEMORY_DIRECTORY).free > MEMORY_DIRECTORY_FREE_BYTES:
            in_memory = MEMORY_DIRECTORY
    return TemporaryDirectory(prefix="eventflow-scale-", dir=in_memory, ignore_cleanup_errors=True)
