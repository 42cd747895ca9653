"""The HTTP API of the target.

Any `POST` outside these paths is an event.

    GET /_audit             the figures
    GET /_audit/ids         counts of each event id, one JSON object per line
    GET /_audit/receipts    each answered request, one JSON object per line
    GET /_audit/arrivals    times of arrival
    GET /_audit/stalls      times at which the target itself was late: requests of such a time seem to arrive together
    GET /_audit/body/ID     last body of an event, with --keep-bodies
    DELETE /_audit          start a new audit
    POST /_audit/outage     answer 503 to everything; ?on=0 ends it
    GET, PUT /_behaviour    read and change the answers
"""

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any

from aiohttp import web

from sandbox.target.answers import Answer, Target
from sandbox.target.ledger import Receipt

_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_ATTEMPT = 2**32 - 1
_ROWS_PER_WRITE = 1_000
_BEAT_S = 0.01
_STALL_MIN_S = 0.005
_TAKEN, _REFUSED = b'{"ok": true}', b'{"ok": false}'
TARGET = web.AppKey("target", Target)


def create_app(target: Target) -> web.Application:
    """Return the application that serves a target."""
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[TARGET] = target
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
    target, arrived_s = request.app[TARGET], time.monotonic()
    ledger = target.ledger  # the request belongs to this audit, even if a new one starts before the answer
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
    target = request.app[TARGET]
    return web.json_response(target.ledger.summary() | {"behaviour": target.behaviour.model_dump(mode="json")})


async def _forget(request: web.Request) -> web.Response:
    request.app[TARGET].forget()
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _arrivals(request: web.Request) -> web.Response:
    try:
        after_s = float(request.query.get("after_s", "-inf"))
    except ValueError as error:
        raise web.HTTPBadRequest(text="after_s: seconds of the monotonic clock are expected") from error
    return web.json_response(request.app[TARGET].ledger.arrivals_s(after_s=after_s))


async def _stalls(request: web.Request) -> web.Response:
    return web.json_response(request.app[TARGET].ledger.stalls_s())


async def _ids(request: web.Request) -> web.StreamResponse:
    return await _stream(request, request.app[TARGET].ledger.ids())


async def _receipts(request: web.Request) -> web.StreamResponse:
    return await _stream(request, request.app[TARGET].ledger.receipts())


async def _stream(request: web.Request, rows: Iterator[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while batch := list(itertools.islice(rows, _ROWS_PER_WRITE)):
        await response.write("".join(f"{json.dumps(row)}\n" for row in batch).encode())
    await response.write_eof()
    return response


async def _body(request: web.Request) -> web.Response:
    body = request.app[TARGET].bodies.get(request.match_info["id"])
    if body is None:
        raise web.HTTPNotFound(text="no body of this event id was kept")
    return web.Response(body=body, content_type="application/octet-stream")


async def _outage(request: web.Request) -> web.Response:
    request.app[TARGET].change({"outage": request.query.get("on", "1") not in {"0", "false"}})
    return await _behaviour(request)


async def _behaviour(request: web.Request) -> web.Response:
    return web.json_response(request.app[TARGET].behaviour.model_dump(mode="json"))


async def _change_behaviour(request: web.Request) -> web.Response:
    try:
        changes = await request.json()
        if not isinstance(changes, dict):
            raise ValueError("expected a JSON object")  # noqa: TRY004, TRY301 - answered 400 like any other wrong value
        request.app[TARGET].change(changes)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return await _behaviour(request)


async def _watch_itself(app: web.Application) -> AsyncIterator[None]:
    """Record each delay of the event loop."""

    async def watch() -> None:
        while True:
            due_s = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            now_s = time.monotonic()
            if now_s - due_s >= _STALL_MIN_S:
                app[TARGET].ledger.stall(now_s, now_s - due_s)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()
