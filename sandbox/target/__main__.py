"""The command that runs a rate-limited target, which audits the requests that reach it.

python -m sandbox.target --port 8090 --rate 10 --burst 10
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Annotated

import typer
import uvloop
from aiohttp import web

from eventflow.network.listener import listen
from eventflow.service.program import run_program
from sandbox.ports import LOOPBACK
from sandbox.target.answers import Target
from sandbox.target.app import TARGET, create_app
from sandbox.target.behaviour import Behaviour, Mode

_BACKLOG = 128
_REPORT_EVERY_S = 1.0


async def _report(app: web.Application) -> AsyncIterator[None]:
    """Print the figures every second in which requests arrived."""

    async def report() -> None:
        reported = 0
        while True:
            await asyncio.sleep(_REPORT_EVERY_S)
            figures = app[TARGET].ledger.summary()
            received = figures["received"]
            if received != reported:
                print(  # noqa: T201 - the program's output
                    f"received {received} (+{max(0, received - reported)}), accepted {figures['accepted']}, "
                    f"throttled {figures['throttled']}, failed {figures['failed']}, "
                    f"duplicates {figures['duplicates']}",
                    flush=True,
                )
            reported = received

    reporting = asyncio.create_task(report())
    yield
    reporting.cancel()


def main(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8090,
    mode: Annotated[Mode, typer.Option(help="A leaky bucket, or at most rate + burst in any second.")] = Mode.BUCKET,
    rate: Annotated[float, typer.Option(min=0, help="Accepted units per second; 0 for no limit.")] = 10.0,
    burst: Annotated[float, typer.Option(min=0, help="Units accepted at once, beyond the rate.")] = 10.0,
    cost: Annotated[float, typer.Option(help="Cost of one request in units, above 0.")] = 1.0,
    latency_s: Annotated[float, typer.Option(min=0, help="Time until each answer.")] = 0.0,
    failure_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share of requests that get 500 or 503.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Seed that repeats the failures in every run.")] = None,
    keep_bodies: Annotated[bool, typer.Option(help="Keep bodies for GET /_audit/body/{id}.")] = False,
) -> None:
    """Run a rate-limited target that audits the requests that reach it."""
    try:
        behaviour = Behaviour(
            mode=mode, rate=rate, burst=burst, cost=cost, latency_s=latency_s, failure_ratio=failure_ratio
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    app = create_app(Target(behaviour, keep_bodies=keep_bodies, seed=seed))
    app.cleanup_ctx.append(_report)
    print(f"listening on http://{host}:{port}/, audit at /_audit", flush=True)  # noqa: T201 - the program's output
    gc.freeze()  # a garbage collection of all imported objects would stop it for tens of milliseconds
    web.run_app(
        app,
        sock=listen(host, port, backlog=_BACKLOG, setting="--port"),
        print=None,
        access_log=None,
        shutdown_timeout=1.0,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    run_program(main)
