"""Adapter for aiohttp's server: each of its requests is routed, received part by part, and answered."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import assert_never, cast

from aiohttp import HttpVersion11, web
from typing_extensions import override

from eventflow_collector import responses
from eventflow_collector.head import Head
from eventflow_collector.ingest import Exchange, Ingest, Reception
from eventflow_collector.intake import rejection
from eventflow_collector.openapi import document
from eventflow_collector.responses import Response
from eventflow_collector.router import ToDescription, ToFlow, route
from eventflow_collector.server.closing import Closing
from eventflow_collector.server.decoder import BodyDecoder
from eventflow_collector.server.peer import address_of
from eventflow_collector.server.protocol import ProblemProtocol
from eventflow_collector.server.writing import response_to

CONTINUE = "100-continue"
RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def request_handler(ingest: Ingest, *, body_timeout_s: float, closing: Closing) -> RequestHandler:
    """Return the function that answers every request.

    Args:
        ingest: Takes the requests that bring events.
        body_timeout_s: The longest time in which a body may arrive.
        closing: Decides whether answers close their connections.
    """
    description = responses.description(json.dumps(document()).encode())
    decoder = BodyDecoder()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = await respond(request)
        if closing.has_begun and not cast("ProblemProtocol", request.protocol).has_next_request:
            response = response._replace(closes=True)
        return response_to(request, response)

    async def respond(request: web.BaseRequest) -> Response:
        if request.headers.get("Expect") and not await _can_continue(request):
            detail = f"Nothing but {CONTINUE} can be expected."
            return responses.problem(417, detail, closes=True)
        if _is_transfer_unknown(request):
            return responses.problem(501, "Transfer-Encoding may be chunked only.", closes=True)
        match route(request.method, request.rel_url.raw_path):
            case ToFlow() as flow:
                return await _receive(ingest, flow, request, decoder, body_timeout_s)
            case ToDescription():
                return description
            case Response() as error:
                return error
            case routed:
                assert_never(routed)

    return handle


class _Awaited(Exchange):
    """A request whose handler awaits the answer. The handler may have ended, because its connection was closed."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    @property
    @override
    def address(self) -> str | None:
        return address_of(self._request.transport)

    @override
    def answer(self, reception: Reception, response: Response) -> None:
        if not self.answered.done():
            self.answered.set_result(response)

    @override
    def fail(self, reception: Reception, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


async def _receive(
    ingest: Ingest, flow: ToFlow, request: web.BaseRequest, decoder: BodyDecoder, body_timeout_s: float
) -> Response:
    """Answer a request with events."""
    exchange = _Awaited(request)
    reception = ingest.begin(_head_of(request, flow), exchange)
    try:
        ingest.traces.bind(reception.span)  # aiohttp gives each request a context of its own
        if reception.admit():
            body = _arrived_body(request, reception)
            if body is None and not exchange.answered.done():
                body = await _arriving_body(request, reception, timeout_s=body_timeout_s)
            if body is not None:
                await _take(reception, body, decoder)
        return await exchange.answered
    except BaseException as error:
        exchange.answered.cancel()  # an answer that comes later is dropped
        reception.abandon(error)
        raise


async def _take(reception: Reception, body: bytes, decoder: BodyDecoder) -> None:
    """Decode the body of a request if it has content codings, and store its events."""
    if not reception.codings:
        reception.take(body)
    elif reception.signs_decoded:
        decoded = await decoder.decode(body, reception)
        if decoded is not None:
            reception.take(decoded)
    elif reception.verify(body):  # first, so that only known senders cause the work
        decoded = await decoder.decode(body, reception)
        if decoded is not None:
            reception.take_verified(decoded)


def _is_transfer_unknown(request: web.BaseRequest) -> bool:
    """Whether a body has a transfer coding besides chunks, which aiohttp would leave in the body."""
    codings = ",".join(request.headers.getall("Transfer-Encoding", ())).strip()
    return codings.lower() not in {"", "chunked"}


def _head_of(request: web.BaseRequest, flow: ToFlow) -> Head:
    return Head(request.method, flow.name, flow.sub_path, request.rel_url.raw_query_string, request.headers)


def _arrived_body(request: web.BaseRequest, reception: Reception) -> bytes | None:
    """Return a body that has arrived completely, as short ones do with their heads.

    None: it has not arrived, or the request is refused.
    """
    if (request.content_length or 0) > reception.max_bytes:
        reception.refuse(rejection.body_too_large(reception.max_bytes))
        return None
    if not request.content.is_eof() or request.content.exception() is not None:
        return None
    body = request.content.read_nowait()
    return body if reception.reserve(len(body), total_bytes=len(body)) else None


async def _arriving_body(request: web.BaseRequest, reception: Reception, *, timeout_s: float) -> bytes | None:
    """Read a body as it arrives, within its deadline; each part is reserved before the next is read.

    None: the request is refused.
    """
    if not reception.reserve_head(_head_bytes(request)):
        return None
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if not reception.reserve(len(chunk), total_bytes=len(body)):
                    return None
    except TimeoutError:
        reception.refuse(rejection.body_too_slow(timeout_s))
        return None
    except (web.RequestPayloadError, ConnectionError):
        reception.refuse(rejection.INTERRUPTED)
        return None
    return bytes(body)


def _head_bytes(request: web.BaseRequest) -> int:
    """Return the bytes of a request's headers. They can be a mebibyte, in memory until the body has arrived."""
    return sum(len(name) + len(value) for name, value in request.raw_headers)


async def _can_continue(request: web.BaseRequest) -> bool:
    """Answer `100 Continue` to a sender that waits for it; return False if it expects anything else."""
    if request.version < HttpVersion11:
        return True  # RFC 9110, 10.1.1: the header is ignored in HTTP/1.0
    if request.headers["Expect"].lower() != CONTINUE:
        return False
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # `handle_error` treats any output as the start of an answer
    return True
