"""What telemetry costs the collector: its events/s without any, and with metrics and 1 % of the events traced.

Both run beside each other on one private RabbitMQ, and `wrk` (Debian's package) loads them in turn.

    python -m benchmarks.telemetry
"""

import asyncio
import re
import statistics
import tempfile
from pathlib import Path

import aiohttp

from sandbox.node import PrivateNode
from tests.support.otlp import OtlpReceiver
from tests.support.services import API_KEY, Service, collector

ROUNDS = 5
ROUND_S = 5
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
            async with OtlpReceiver() as receiver, aiohttp.ClientSession() as http:
                off = collector(node.url, flow="off", module="benchmarks.untold")
                on = collector(node.url, flow="on", **receiver.environment, **SAMPLED)
                with off.process, on.process:
                    await asyncio.gather(off.ready(http), on.ready(http))
                    await compare(off, on, script)
                print(f"spans received: {len(receiver.spans)}")
        finally:
            node.kill()


async def compare(off: Service, on: Service, script: Path) -> None:
    """Load both in turn and print their medians."""
    figures: dict[str, list[float]] = {"off": [], "on": []}
    for service in (off, on):
        await events_per_s(service, script, duration_s=2)
    for _ in range(ROUNDS):
        for name, service in (("off", off), ("on", on)):
            figures[name].append(await events_per_s(service, script, duration_s=ROUND_S))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, values in figures.items():
        print(f"telemetry {name:3}  {medians[name]:7.0f} events/s   rounds: {' '.join(f'{v:.0f}' for v in values)}")
    print(f"ratio {medians['on'] / medians['off']:.3f}")


if __name__ == "__main__":
    asyncio.run(main())
