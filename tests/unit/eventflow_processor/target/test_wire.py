"""Bytes on the wire: both HTTP clients send the same request, byte for byte."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from eventflow.forwarded import Parts, forwarded
from eventflow.message import Envelope
from eventflow.settings.target import TargetSettings
from eventflow_processor.target.request import RequestForm, request_form
from eventflow_processor.target.result import Errored, Result, Succeeded
from tests.support.http_targets import CLIENTS, HttpTarget, envelope, result_of, target_at
from tests.support.raw_target import serving
from tests.support.wait import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NOW = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

EVENTS: dict[str, dict[str, Any]] = {
    "bare": {},
    "json": {"content_type": "application/json; charset=utf-8", "body": b'{"a": 1.10}'},
    "all attributes": {"content_type": "text/plain", "subject": "Grüße/%", "traceparent": TRACE, "id": 'a b"\u20ac'},
    "empty": {"body": b""},
    "binary": {"body": bytes(range(256)) * 10, "content_type": "application/octet-stream"},
    "large": {"body": b"x" * 700_000},
    "a long source": {"source": "/s" * 2000, "subject": "\u202f" * 100},
    "extensions": {"dataschema": "urn:s", "extensions": {"tag": "100%s ü", "sampled": "true"}},
    "forwarded": {"forwarded": forwarded(Parts(headers={"X-Tenant": "100%s\t\u00e4", "x-b": "2"}, query="a=%20&b=%s"))},
    "a type beyond ASCII": {"content_type": "text/pl\u00e4in; a=\u20ac"},
}
ENVELOPES: dict[str, dict[str, Any]] = {"first": {}, "later": {"attempt": 11, "content_encoding": "gzip"}}
HEADERS: dict[str, dict[str, str]] = {
    "none": {},
    "some": {"Authorization": "Bearer 100%s", "X-Tab": "a\tb"},
    "ours again": {"user-agent": "shop/1", "ACCEPT": "text/plain", "host": "shop.example"},
    "the event's again": {"content-type": "x/y", "Idempotency-key": "mine", "X-After": "z", "CE-ID": "1"},
    "close": {"Connection": "close"},
}
FORMS = {
    "raw": RequestForm(),
    "structured": RequestForm(format="cloudevents"),
    "signed": RequestForm(signing_keys=(b"k" * 32, b"j" * 32)),
}
PATHS = ("/hook", "", "/a%20b/\u00e4?q=1&r=%2F&r=2#fragment", "/?%25=%", "//x/../y")


async def bytes_of(
    client: type[HttpTarget], sent: Envelope, *, path: str = "/", **changes: Any
) -> tuple[bytes, Result]:
    """Return all bytes of one attempt, with port 0 as that of the target, and its result."""
    received = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        received = head + await reader.readexactly(length)
        writer.write(OK)
        received += await reader.read()

    async with serving(serve) as port, target_at(client, f"http://127.0.0.1:{port}{path}", **changes) as target:
        result = await result_of(target, sent)
    return received.replace(b":%d" % port, b":0"), result


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let signatures have the same time."""
    for module in ("aiohttp_client", "lean.client"):
        monkeypatch.setattr(f"eventflow_processor.target.{module}.utc_now", lambda: NOW)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("headers", HEADERS)
async def test_both_clients_send_the_same_bytes(form: str, headers: str) -> None:
    for event in EVENTS.values():
        for changes in ENVELOPES.values():
            sent = Envelope(event=envelope(**(event | {"id": event.get("id", "e-1"), "time": NOW})).event, **changes)
            sides = [await bytes_of(client, sent, form=FORMS[form], headers=HEADERS[headers]) for client in CLIENTS]
            assert sides[0] == sides[1]
            query = b"" if "forwarded" not in event else b"?a=%20&b=%s"
            assert sides[0][0].startswith(b"POST /%b HTTP/1.1\r\n" % query)
            assert isinstance(sides[0][1], Succeeded)


@pytest.mark.parametrize("path", PATHS)
async def test_both_clients_ask_for_the_same_path(path: str) -> None:
    form = request_form(TargetSettings(url=f"http://127.0.0.1{path}"))
    for sent in (envelope(), envelope(forwarded=forwarded(Parts(query="z=%2f&?")))):
        sides = [await bytes_of(client, sent, path=path, form=form) for client in CLIENTS]
        assert sides[0] == sides[1]
        assert b"fragment" not in sides[0][0]
        assert sides[0][0].split(b" ")[1].endswith(b"z=%2f&?" if sent.event.forwarded else b"")


@pytest.mark.parametrize("value", ["a\r\nX-Forged: 1", "a\nb", "a\0b", "a\x7fb", "a\x01b"])
@pytest.mark.parametrize("name", ["content_type", "traceparent"])
async def test_a_value_that_would_forge_a_header_is_never_sent(name: str, value: str) -> None:
    """Attributes of an event that another program has published can be any text."""
    for client in CLIENTS:
        received, result = await bytes_of(client, envelope(**{name: value}))
        assert received == b""
        assert isinstance(result, Errored)
        assert isinstance(result.error, ValueError)


async def test_a_request_leaves_in_one_piece_and_the_next_one_uses_its_connection() -> None:
    reads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while read := await reader.read(65536):
            reads.append(read)
            writer.write(OK)

    async with serving(serve) as port:
        async with target_at(CLIENTS[0], f"http://127.0.0.1:{port}/") as target:
            for number in range(3):
                assert await result_of(target, envelope(id=str(number))) == Succeeded(status=200)
        await eventually(lambda: len(reads) == 3, what="three requests")
        assert [read.count(b"POST / HTTP/1.1") for read in reads] == [1, 1, 1]
