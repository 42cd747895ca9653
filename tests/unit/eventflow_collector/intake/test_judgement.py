"""A request judged without a socket: its head, then its body."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from eventflow.event import Event
from eventflow.settings.root import Settings
from eventflow.settings.source import SourceSettings
from eventflow_collector.head import Head
from eventflow_collector.intake.flow import Flow, flow_of
from eventflow_collector.intake.judgement import admit, judge, verify
from eventflow_collector.intake.rejection import Reason, Rejection
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.request import Request
from eventflow_collector.senders.secret_text import is_one_of
from tests.support.senders import github

SECRET = "It's a Secret to Everybody"
OPEN = flow_of(
    "default", Settings(source=SourceSettings(allow_unauthenticated=True, max_body_bytes=10, max_batch_bytes=20))
)
SIGNED = flow_of(
    "default", Settings.model_validate({"source": {"api_keys": "api-key-1", "verify": "github", "secrets": SECRET}})
)
KEY = {"X-Api-Key": "api-key-1"}


def open_flow(**settings: str) -> Flow:
    return flow_of("default", Settings.model_validate({"source": {"allow_unauthenticated": True, **settings}}))


def judged(
    flow: Flow,
    headers: dict[str, str],
    body: bytes = b"{}",
    *,
    batch: str | None = None,
    method: str = "POST",
    sub_path: str = "",
) -> Sequence[Event] | Rejection:
    query = "" if batch is None else f"batch={batch}"
    head = Head(method, flow.name, sub_path, query, CIMultiDict(headers))
    mode = admit(flow, head)
    if isinstance(mode, Rejection):
        return mode
    request, now = Request(head, body), datetime.now(UTC)
    return verify(flow, request, now=now) or judge(flow, mode, request, now=now)


def test_keys_match_exactly() -> None:
    keys = (b"one", b"two")
    assert is_one_of(b"one", keys)
    assert is_one_of(b"two", keys)
    for given_key in (b"", b"on", b"one ", b"ONE", b"\xff"):
        assert not is_one_of(given_key, keys)


def test_a_request_becomes_its_events() -> None:
    [event] = judged(OPEN, {"Idempotency-Key": "k"}, b"any bytes")
    assert (event.id, event.body) == ("k", b"any bytes")
    [event] = judged(SIGNED, {**KEY, **github(SECRET, b"{}")})
    assert event.body == b"{}"


@pytest.mark.parametrize(
    ("flow", "headers", "body", "batch", "reason", "status", "closes"),
    [
        (SIGNED, {}, b"", None, Reason.UNAUTHENTICATED, 401, True),
        (SIGNED, {"X-Api-Key": "other"}, b"", None, Reason.UNAUTHENTICATED, 401, True),
        (SIGNED, KEY, b"", None, Flaw.MISSING, 401, True),
        (SIGNED, {**KEY, "X-Hub-Signature-256": "sha256="}, b"", None, Flaw.MISMATCH, 401, True),
        (OPEN, {"Content-Encoding": "zstd"}, b"", None, Reason.ENCODED, 415, True),
        (OPEN, {"Content-Encoding": "gzip, zstd"}, b"", None, Reason.ENCODED, 415, True),
        (OPEN, {"Content-Type": "text/plain"}, b"", "1", Reason.CONTENT_TYPE, 415, True),
        (OPEN, {"Content-Type": "application/json"}, b"", "2", Reason.INVALID, 400, True),
        (OPEN, {"Content-Type": "application/json"}, b"{", "1", Reason.INVALID, 400, False),
        (OPEN, {"Content-Type": "application/json"}, b'["%b"]' % (b"x" * 20), "1", Reason.TOO_LARGE, 413, False),
        (OPEN, {"Idempotency-Key": "x" * 256}, b"", None, Reason.INVALID, 400, False),
    ],
)
def test_a_request_that_cannot_be_taken_is_rejected_with_its_reason(
    flow: Flow,
    headers: dict[str, str],
    body: bytes,
    batch: str | None,
    reason: Reason | Flaw,
    status: int,
    closes: bool,
) -> None:
    rejected = judged(flow, headers, body, batch=batch)
    assert isinstance(rejected, Rejection)
    assert (rejected.reason, rejected.status, rejected.closes) == (reason, status, closes)


@pytest.mark.parametrize("method", ["GET", "PUT", "post", "HEAD"])
def test_other_methods_are_refused_with_those_that_are_served(method: str) -> None:
    rejected = judged(OPEN, {}, method=method)
    assert isinstance(rejected, Rejection)
    assert (rejected.reason, rejected.status, rejected.headers) == (Reason.METHOD, 405, {"Allow": "POST"})


def test_a_flow_takes_the_methods_of_its_settings() -> None:
    flow = open_flow(methods="PUT, GET")
    assert not isinstance(judged(flow, {}, b"", method="GET"), Rejection)
    assert not isinstance(judged(flow, {}, method="PUT"), Rejection)
    rejected = judged(flow, {}, method="POST")
    assert isinstance(rejected, Rejection)
    assert rejected.headers == {"Allow": "PUT,GET"}


@pytest.mark.parametrize(
    ("settings", "sub_path", "is_taken"),
    [
        ({}, "/", True),
        ({}, "//", False),
        ({}, "/below", False),
        ({"allow_trailing_slash": "false"}, "/", False),
        ({"allow_sub_paths": "true"}, "/below/it/", True),
        ({"allow_sub_paths": "true", "allow_trailing_slash": "false"}, "/", True),
    ],
)
def test_paths_below_a_flow_are_taken_by_its_settings(settings: dict[str, str], sub_path: str, is_taken: bool) -> None:
    rejected = judged(open_flow(**settings), {}, sub_path=sub_path)
    assert is_taken or (isinstance(rejected, Rejection) and rejected.reason is Reason.UNKNOWN_PATH)
    assert isinstance(rejected, Rejection) is not is_taken


def test_identity_is_no_encoding() -> None:
    assert not isinstance(judged(OPEN, {"Content-Encoding": " Identity, "}), Rejection)
