"""A rate-limited target that audits what reaches it.

    python -m sandbox.target --port 8090 --rate 10 --burst 10

Events come as `POST /` or `POST /{anything}`. `GET /_audit` tells what came, `GET /_audit/ids` and
`GET /_audit/receipts` tell it line by line, `GET /_audit/arrivals` only when, `DELETE /_audit` forgets it.
`GET /_audit/stalls` tells when the target itself was late, so that what came meanwhile seems to have come at once.
`PUT /_behaviour` changes what it answers.
"""

import asyncio
import gc
import hashlib
import itertools
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import typer
import uvloop
from aiohttp import web

from eventflow.network.listener import listen
from sandbox.behaviour import Behaviour, Mode
from sandbox.ledger import Ledger, Receipt
from sandbox.ports import LOOPBACK
from sandbox.rates import LeakyBucket, Limit, StrictWindow

BACKLOG = 128

_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_ATTEMPT = 2**32 - 1
_ROWS_PER_WRITE = 1_000
_REPORT_EVERY_S = 1.0
_BEAT_S = 0.01
_STALL_MIN_S = 0.005
_FAILURES = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_TAKEN, _REFUSED = b'{"ok": true}', b'{"ok": false}'
_LIMITS: dict[Mode, type[LeakyBucket | StrictWindow]] = {Mode.BUCKET: LeakyBucket, Mode.STRICT: StrictWindow}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request gets, and when."""

    status: HTTPStatus
    after_s: float = 0.0
    retry_after_s: int | None = None


class Target:
    """Decides what each request gets, and keeps the books.

    Args:
        keep_bodies: Keep the last body of each event id, for byte-for-byte checks.
        seed: Of the dice that `failure_ratio` throws.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        keep_bodies: bool = False,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.ledger = Ledger()
        self.bodies: dict[str, bytes] = {}
        self._keep_bodies = keep_bodies
        self._dice = random.Random(seed)
        self._clock = clock
        self._limit = self._new_limit()

    def change(self, changes: dict[str, Any]) -> None:
        """Behave otherwise from now on; a limit of the same mode remembers what it has let through.

        Raises:
            ValueError: As `Behaviour.changed`.
        """
        before, self.behaviour = self.behaviour, self.behaviour.changed(changes)
        rate, burst = self.behaviour.rate, self.behaviour.burst
        if self._limit is None or not rate or before.mode is not self.behaviour.mode:
            self._limit = self._new_limit()
        else:
            self._limit = self._limit.changed(self._clock(), rate_per_s=rate, burst=burst)

    def forget(self) -> None:
        """Start the audit anew."""
        self.ledger = Ledger()
        self.bodies.clear()

    def decide(self, event_id: str) -> Answer:
        """Decide what a request gets that comes now."""
        behaviour = self.behaviour
        if behaviour.outage:
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE)
        wait_s = 0.0 if self._limit is None else self._limit.take(self._clock(), cost=behaviour.cost)
        if wait_s > 0:
            return Answer(status=HTTPStatus.TOO_MANY_REQUESTS, retry_after_s=max(1, math.ceil(wait_s)))
        if event_id in behaviour.fail_ids:
            return Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR, after_s=behaviour.latency_s)
        if self._dice.random() < behaviour.failure_ratio:
            return Answer(status=self._dice.choice(_FAILURES), after_s=behaviour.latency_s)
        return Answer(status=HTTPStatus.OK, after_s=behaviour.latency_s)

    def call_limit(self) -> str | None:
        """Return how full its bucket is, as Shopify's `X-Shopify-Shop-Api-Call-Limit` tells it; None without one."""
        if not isinstance(self._limit, LeakyBucket):
            return None
        return f"{math.ceil(self._limit.level(self._clock()))}/{math.floor(self.behaviour.burst)}"

    def keep(self, event_id: str, body: bytes) -> None:
        """Keep a body, where bodies are kept."""
        if self._keep_bodies:
            self.bodies[event_id] = body

    def _new_limit(self) -> Limit | None:
        behaviour = self.behaviour
        if not behaviour.rate:
            return None
        return _LIMITS[behaviour.mode](rate_per_s=behaviour.rate, burst=behaviour.burst)


_TARGET = web.AppKey("target", Target)


def create_app(target: Target) -> web.Application:
    """Serve a target."""
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[_TARGET] = target
    app.router.add_get("/_audit", _audit)
    app.router.add_delete("/_audit", _forget)
    app.router.add_get("/_audit/arrivals", _arrivals)
    app.router.add_get("/_audit/stalls", _stalls)
    app.router.add_get("/_audit/ids", _ids)
    app.router.add_get("/_audit/receipts", _receipts)
    app.router.add_get("/_audit/body/{id:.*}", _body)
    app.router.add_post("/_audit/outage", _outage)
    app.router.add_get("/_behaviour", _behaviour)
    app.router.add_put("/_behaviour", _change_behaviour)
    app.router.add_post("/{path:.*}", _receive)
    app.cleanup_ctx.append(_watch_itself)
    return app


async def _receive(request: web.Request) -> web.Response:
    target, arrived_s = request.app[_TARGET], time.monotonic()
    ledger = target.ledger  # the one that the request arrived in, should the audit be reset meanwhile
    ledger.arrive(arrived_s)
    event_id = request.headers.get("ce-id") or request.headers.get("Idempotency-Key") or ""
    answer = target.decide(event_id)
    body = await request.read()
    if answer.after_s:
        await asyncio.sleep(answer.after_s)
    receipt = Receipt(
        event_id=event_id,
        at_s=arrived_s,
        status=answer.status,
        attempt=_attempt(request.headers.get("eventflow-attempt", "")),
        body_bytes=len(body),
        body_sha256=hashlib.sha256(body).digest(),
    )
    ledger.record(receipt)
    target.keep(event_id, body)
    return web.Response(
        body=_TAKEN if receipt.accepted else _REFUSED, status=answer.status, headers=_headers(target, answer)
    )


def _attempt(header: str) -> int:
    return min(int(header), _MAX_ATTEMPT) if header.isascii() and header.isdigit() else 0


def _headers(target: Target, answer: Answer) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if (limit := target.call_limit()) is not None:
        headers["X-Shopify-Shop-Api-Call-Limit"] = limit
    if answer.retry_after_s is not None:
        headers["Retry-After"] = str(answer.retry_after_s)
    return headers


async def _audit(request: web.Request) -> web.Response:
    target = request.app[_TARGET]
    return web.json_response(target.ledger.summary() | {"behaviour": target.behaviour.model_dump(mode="json")})


async def _forget(request: web.Request) -> web.Response:
    request.app[_TARGET].forget()
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _arrivals(request: web.Request) -> web.Response:
    try:
        after_s = float(request.query.get("after_s", "-inf"))
    except ValueError as error:
        raise web.HTTPBadRequest(text="after_s: seconds of the monotonic clock are expected") from error
    return web.json_response(request.app[_TARGET].ledger.arrivals_s(after_s=after_s))


async def _stalls(request: web.Request) -> web.Response:
    return web.json_response(request.app[_TARGET].ledger.stalls_s())


async def _ids(request: web.Request) -> web.StreamResponse:
    return await _stream(request, request.app[_TARGET].ledger.ids())


async def _receipts(request: web.Request) -> web.StreamResponse:
    return await _stream(request, request.app[_TARGET].ledger.receipts())


async def _stream(request: web.Request, rows: Iterator[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while batch := list(itertools.islice(rows, _ROWS_PER_WRITE)):
        await response.write("".join(f"{json.dumps(row)}\n" for row in batch).encode())
    await response.write_eof()
    return response


async def _body(request: web.Request) -> web.Response:
    body = request.app[_TARGET].bodies.get(request.match_info["id"])
    if body is None:
        raise web.HTTPNotFound(text="no body of this event id was kept")
    return web.Response(body=body, content_type="application/octet-stream")


async def _outage(request: web.Request) -> web.Response:
    request.app[_TARGET].change({"outage": request.query.get("on", "1") not in {"0", "false"}})
    return await _behaviour(request)


async def _behaviour(request: web.Request) -> web.Response:
    return web.json_response(request.app[_TARGET].behaviour.model_dump(mode="json"))


async def _change_behaviour(request: web.Request) -> web.Response:
    try:
        changes = await request.json()
        if not isinstance(changes, dict):
            raise ValueError("expected a JSON object")  # noqa: TRY004, TRY301 - of the wrong value, like the others
        request.app[_TARGET].change(changes)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return await _behaviour(request)


async def _watch_itself(app: web.Application) -> AsyncIterator[None]:
    """Note when the event loop runs late."""

    async def watch() -> None:
        while True:
            due_s = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            now_s = time.monotonic()
            if now_s - due_s >= _STALL_MIN_S:
                app[_TARGET].ledger.stall(now_s, now_s - due_s)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()


async def _report(app: web.Application) -> AsyncIterator[None]:
    """Say every second what came in it."""

    async def report() -> None:
        told = 0
        while True:
            await asyncio.sleep(_REPORT_EVERY_S)
            seen = app[_TARGET].ledger.summary()
            if seen["received"] != told:
                print(  # noqa: T201 - the program's output
                    f"received {seen['received']} (+{max(0, seen['received'] - told)}), accepted {seen['accepted']}, "
                    f"throttled {seen['throttled']}, failed {seen['failed']}, duplicates {seen['duplicates']}",
                    flush=True,
                )
            told = seen["received"]

    reporting = asyncio.create_task(report())
    yield
    reporting.cancel()


def main(
    host: Annotated[str, typer.Option(help="Where it listens.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="Where it listens.")] = 8090,
    mode: Annotated[Mode, typer.Option(help="A leaky bucket, or strictly rate + burst in any second.")] = Mode.BUCKET,
    rate: Annotated[float, typer.Option(min=0, help="Units per second that it takes; 0 for no limit.")] = 10.0,
    burst: Annotated[float, typer.Option(min=0, help="Units that it takes at once, beyond the rate.")] = 10.0,
    cost: Annotated[float, typer.Option(help="Units that one request costs, above 0.")] = 1.0,
    latency_s: Annotated[float, typer.Option(min=0, help="How long it takes over each.")] = 0.0,
    failure_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share that gets 500 or 503.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Makes the failures the same in every run.")] = None,
    keep_bodies: Annotated[bool, typer.Option(help="Keep bodies for GET /_audit/body/{id}.")] = False,
) -> None:
    """Run a rate-limited target that audits what reaches it."""
    try:
        behaviour = Behaviour(
            mode=mode, rate=rate, burst=burst, cost=cost, latency_s=latency_s, failure_ratio=failure_ratio
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    app = create_app(Target(behaviour, keep_bodies=keep_bodies, seed=seed))
    app.cleanup_ctx.append(_report)
    print(f"listening on http://{host}:{port}/, audit at /_audit", flush=True)  # noqa: T201 - the program's output
    gc.freeze()  # a look for cycles among all that was imported stops its clock for tens of milliseconds
    web.run_app(
        app,
        sock=listen(host, port, backlog=BACKLOG, setting="--port"),
        print=None,
        access_log=None,
        shutdown_timeout=1.0,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    typer.run(main)
