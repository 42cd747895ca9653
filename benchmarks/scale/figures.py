"""Figures of a run: the size of the installation, its parts in the broker, and their cost while no event comes in."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of an installation.

    Attributes:
        retry_delays: Number of delay queues of each flow.
    """

    flows: int
    processors: int
    collectors: int = 1
    retry_delays: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that a broker keeps for the services.

    Attributes:
        files: Open files of the broker.
    """

    queues: int
    connections: int
    channels: int
    consumers: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one process.

    Attributes:
        memory_bytes: Resident memory; of the broker without the part that its allocators keep in reserve.
        cores: Used CPU time per second.
    """

    memory_bytes: int
    cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """An installation without events, for a minute or so.

    Attributes:
        processor: The mean of all processors.
        busiest_processor_cores: Cores of the busiest processor.
        collector: The mean of all collectors.
        requests_per_s: Reads of the broker from its connections; nearly always one for each request of a service.
        log_entries_per_s: New entries in the logs of all quorum queues, each of which is written to disk.
        control_per_s: Messages that the services published on the control exchange.
    """

    broker: Cost
    processor: Cost
    busiest_processor_cores: float
    collector: Cost
    requests_per_s: float
    log_entries_per_s: float
    control_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of a run.

    Attributes:
        version: Version of Event Flow, or another name for it.
        broker: Name and version of the broker.
        empty_broker_bytes: Memory of the broker before the services started.
        first_ready_s: Time until the first processor was ready, which declares all queues.
        ready_s: Time until all other processors were ready, which started together.
        requests_of_a_start: Requests of the processors that started later, for each of them.
    """

    version: str
    broker: str
    cores: int
    size: Size
    empty_broker_bytes: int
    first_ready_s: float
    ready_s: float
    requests_of_a_start: float
    parts: Parts
    idle: Idle

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the figures of an earlier run."""
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        idle = found["idle"]
        costs = {name: Cost(**idle[name]) for name in ("broker", "processor", "collector")}
        return cls(
            **found | {"size": Size(**found["size"]), "parts": Parts(**found["parts"]), "idle": Idle(**(idle | costs))}
        )

    def write(self, file: Path) -> None:
        """Write the figures, for `read`."""
        file.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def flow_bytes(self) -> float:
        """Memory of the broker for each flow, with its queues, channels and consumers."""
        return (self.idle.broker.memory_bytes - self.empty_broker_bytes) / self.size.flows
