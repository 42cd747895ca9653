"""Whatever bytes come to a flow of any sender: a documented answer, no traceback, and nothing is reflected unasked."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.senders.vocabulary import Handshake
from tests.integration.test_fuzz import DOCUMENTED, TIMEOUT_S, bodies, fuzzed, received, schemathesis_run
from tests.integration.test_senders import discord, slack, xero, zoom
from tests.support.cases import CASES
from tests.support.sender_flows import ALL, SenderFlows, sender_flows
from tests.support.senders import TEXT_SECRET, VERIFY_TOKEN

MARK = b"zqxjkvbpwm"
"""A text that no answer of ours contains, so that it can only be reflected."""

HANDSHAKE_STATUSES = {200, 204, 403}


@pytest.fixture(scope="module")
def running(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SenderFlows]:
    prefix = f"t{secrets.token_hex(4)}"
    directory = tmp_path_factory.mktemp("senders")
    with sender_flows(broker_url, directory, prefix=prefix, max_body_bytes=5000) as flows:
        yield flows


def _headers_of_all() -> list[bytes]:
    """Return the names of all headers in the descriptions."""
    names = set(re.findall(r"Header\(header='([^']+)'\)", repr(list(ALL.values()))))
    return sorted(name.encode() for name in names)


def _pointers_of_all() -> list[str]:
    return sorted(set(re.findall(r"Pointer\(pointer='([^']+)'\)", repr(list(ALL.values())))))


names = st.sampled_from([*_headers_of_all(), b"Content-Type", b"Authorization", b"Content-Encoding", b"Expect"])
texts = st.sampled_from(
    [
        MARK,
        b"<script>" + MARK,
        MARK + b"\xff",
        MARK + b"\x01",
        b"0" * 64,
        b"sha256=" + b"0" * 64,
        b"v0=" + b"a" * 64,
        b"t=1,v1=" + b"0" * 64,
        b"1795816331",
        b"2026-03-02T10:20:30Z",
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"SubscriptionValidation",
        b"webhook_callback_verification",
        b"SHA256withRSA",
        b"Basic " + MARK,
        b"Bearer " + TEXT_SECRET.encode(),
        TEXT_SECRET.encode(),
        MARK * 200,
    ]
) | st.binary(max_size=20).map(lambda value: value.translate(None, b"\r\n\0"))


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """JSON with values at the places that the senders use."""
    document = '"end"'
    for pointer in draw(st.lists(st.sampled_from(_pointers_of_all()), max_size=4)):
        value = draw(
            st.sampled_from([f'"{MARK.decode()}"', "1", "[]", "true", "null", '"url_verification"', '"\\ud800"'])
        )
        for step in reversed(pointer.split("/")[1:]):
            value = f"[{value}]" if step in {"0", "*"} else f'"x": 0, "{step}": {value}'
            value = value if value.startswith("[") else f"{{{value}}}"
        document = value
    return document.encode()


@st.composite
def handshakes(draw: st.DrawFn) -> bytes:
    """Handshakes of Slack and Zoom, with challenges of every kind."""
    kind = draw(st.sampled_from([("type", "url_verification"), ("event", "endpoint.url_validation")]))
    challenge = draw(st.just(MARK.decode()) | st.text(max_size=20) | st.none() | st.integers() | st.just("x" * 1025))
    document = {kind[0]: kind[1], "challenge": challenge, "payload": {"plainToken": challenge}}
    return json.dumps(document).encode()


queries = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"hub.mode",
                b"hub.challenge",
                b"hub.verify_token",
                b"challenge",
                b"validationToken",
                b"token",
                b"crc_token",
            ]
        ),
        st.sampled_from([b"subscribe", MARK, MARK + b"%0d%0aX:1", MARK + b"%ff", VERIFY_TOKEN.encode(), b"%", b""]),
    ),
    max_size=3,
).map(lambda pairs: b"&".join(b"=".join(pair) for pair in pairs))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A request for the flow of a sender, and the name of the sender."""
    sender = draw(st.sampled_from(sorted(ALL)))
    method = draw(st.sampled_from([b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT"]))
    body = draw(documents() | bodies | st.just(b"webhook_id=" + MARK))
    sub_path = draw(st.sampled_from([b"", b"", b"/", b"/" + MARK, b"/%2e%2e"]))
    path = b"/events/PREFIX-%b%b?%b" % (sender.encode(), sub_path, draw(queries))
    headers = draw(st.lists(st.tuples(names, texts), max_size=6))
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: x", *(b"%b: %b" % header for header in headers)]
    return sender, b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(requests())
def test_any_request_to_any_sender_gets_a_documented_answer_and_reflects_no_more_than_a_handshake(
    running: SenderFlows, request_of: tuple[str, bytes]
) -> None:
    sender, request = request_of
    answer = received(running.service, request.replace(b"PREFIX", running.prefix.encode(), 1))
    statuses = {int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)}
    assert statuses <= DOCUMENTED
    assert TEXT_SECRET.encode() not in answer.replace(b"token=" + TEXT_SECRET.encode(), b"")
    if MARK in answer:
        assert any(_reflects(handshake) for handshake in ALL[sender].handshakes), answer
        assert statuses & HANDSHAKE_STATUSES, answer
        assert b"text/html" not in answer
        assert b"X-Content-Type-Options: nosniff" in answer


SIGNERS = {"discord": discord, "slack": slack, "xero": xero, "zoom": zoom}
"""Senders that sign their handshakes."""


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(sender=st.sampled_from(sorted(SIGNERS)), body=documents() | bodies | handshakes())
def test_any_signed_body_gets_a_documented_answer(running: SenderFlows, sender: str, body: bytes) -> None:
    headers = {**SIGNERS[sender](body).headers, "Host": "x", "Content-Length": str(len(body))}
    lines = [f"POST /events/{running.flow(sender)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    answer = received(running.service, "\r\n".join([*lines, "", ""]).encode() + body, is_whole=True)
    (status,) = (int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer))
    assert status in {200, 204, 400, 413}, answer
    assert b"text/html" not in answer
    if MARK in answer:
        assert status == 200
        assert b"X-Content-Type-Options: nosniff" in answer


def _reflects(handshake: Handshake) -> bool:
    return handshake.challenge is not None and not handshake.is_authenticated


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("sender", ["azure-event-grid", "twilio"])
def test_schemathesis_finds_nothing_at_flows_of_senders(running: SenderFlows, tmp_path: Path, sender: str) -> None:
    options = ("--include-path", "/events/{flow}")
    run = schemathesis_run(running.service, running.flow(sender), tmp_path, *options, examples=max(5, CASES // 100))
    assert run.returncode == 0, run.stdout + run.stderr
