"""What telemetry costs the collector: its events/s without any, and with metrics and 1 % of the events traced.

Both use one private RabbitMQ, and `wrk` (Debian's package) loads them in turn. Such a load uses
the collector up, so its CPU time for an event says the same as its events/s, and less of what else runs here.

    python -m benchmarks.telemetry
"""

import asyncio
import os
import re
import tempfile
from operator import truediv
from pathlib import Path
from statistics import median

import aiohttp

from sandbox.node import PrivateNode
from tests.support.otlp import OtlpReceiver
from tests.support.services import API_KEY, Service, collector

ROUNDS = 8
ROUND_S = 3
CONNECTIONS = 64
BODY_BYTES = 1024
SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
REQUEST = f"""
wrk.method = "POST"
wrk.body = string.rep("x", {BODY_BYTES})
wrk.headers["X-Api-Key"] = "{API_KEY}"
"""


async def events_per_s(service: Service, script: Path, *, duration_s: int) -> float:
    """Load a collector and return what it accepted per second; an event that is refused fails the run."""
    command = ("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{duration_s}s")
    process = await asyncio.create_subprocess_exec(
        *command, "--script", str(script), service.url, stdout=asyncio.subprocess.PIPE
    )
    report = (await process.communicate())[0].decode()
    assert "Non-2xx" not in report, report
    found = re.search(r"Requests/sec:\s+([\d.]+)", report)
    assert found, report
    return float(found[1])


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        script = directory / "request.lua"
        script.write_text(REQUEST)
        node = PrivateNode(directory / "node")
        node.start()
        try:
            async with OtlpReceiver() as receiver:
                await compare(node.url, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **SAMPLED}, script)
                print(f"spans received: {len(receiver.spans)}")
        finally:
            node.kill()


async def compare(broker_url: str, traced: dict[str, str], script: Path) -> None:
    """Load a new pair of processes in every round, in alternating order: two equal ones differ by their luck."""
    rates: dict[str, list[float]] = {"off": [], "on": []}
    costs: dict[str, list[float]] = {"off": [], "on": []}
    for number in range(ROUNDS):
        pair = {
            "off": collector(broker_url, flow="off", module="benchmarks.untold"),
            "on": collector(broker_url, flow="on", **traced),
        }
        for name in ("off", "on") if number % 2 == 0 else ("on", "off"):
            rate, cost = await measure(pair[name], script)
            rates[name].append(rate)
            costs[name].append(cost)
    for name, each in rates.items():
        rate, cost = median(each), median(costs[name])
        print(f"telemetry {name:3}  {rate:5.0f} events/s  {cost:4.0f} us of CPU each ", [round(rate) for rate in each])
    print(f"events/s, on/off, median of the rounds: {median(map(truediv, rates['on'], rates['off'])):.3f}")
    print(f"CPU for an event, off/on, median of the rounds: {median(map(truediv, costs['off'], costs['on'])):.3f}")


async def measure(service: Service, script: Path) -> tuple[float, float]:
    """Run a collector under load; return its events/s and its microseconds of CPU time for each."""
    async with aiohttp.ClientSession() as http:
        with service.process:
            await service.ready(http)
            await events_per_s(service, script, duration_s=1)
            before_s = cpu_s(service)
            rate = await events_per_s(service, script, duration_s=ROUND_S)
            return rate, (cpu_s(service) - before_s) / (rate * ROUND_S) * 1e6


def cpu_s(service: Service) -> float:
    """Return the CPU time that a service has used: fields 14 and 15 of proc(5)'s stat."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    asyncio.run(main())
