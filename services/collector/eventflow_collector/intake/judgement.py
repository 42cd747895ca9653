"""The judgement of a request: by its head alone first, then by its body. Pure and synchronous.

`admit` refuses as much as possible before the body is read. Then its caller reads the body and calls `judge`.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime

from multidict import MultiMapping

from eventflow.errors import InvalidEventError
from eventflow.event import Event
from eventflow_collector.head import Head, Peer
from eventflow_collector.intake import rejection
from eventflow_collector.intake.events import TooLargeError, read_events
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.mode import Mode, UnknownModeError, mode_of
from eventflow_collector.intake.rejection import Reason, Rejection
from eventflow_collector.senders.handshake import Handshakes, Refused, Reply, Visit
from eventflow_collector.senders.request import Request
from eventflow_collector.senders.signature import Flaw

EVENT_METHODS = ("POST",)
"""Methods of requests with events."""


def admit(flow: Flow, head: Head, peer: Peer) -> Mode | Rejection:  # noqa: ARG001 - for flows behind trusted proxies
    """Judge a request by its head; return the mode in which it carries its events.

    Args:
        flow: The flow of the request.
        head: Of the request.
        peer: The side that sent it.
    """
    refused = _refusal_of(flow, head)
    if refused is not None:
        return refused
    if head.method not in EVENT_METHODS:
        return Mode.OPAQUE  # a handshake, if it is anything
    try:
        return mode_of(head.headers, batch=head.parameter("batch"))
    except UnknownModeError as error:
        detail = f"Not accepted: {error}."
        return Rejection(reason=Reason.CONTENT_TYPE, status=415, detail=detail, closes=True)
    except InvalidEventError as error:
        return rejection.invalid(error, closes=True)


def verify(flow: Flow, request: Request, *, now: datetime) -> Rejection | None:
    """Return the refusal of an admitted request that its sender has not signed as the flow demands."""
    if flow.verifier is not None and (flaw := flow.verifier.flaw_of(request, now=now)) is not None:
        return rejection.unauthenticated(flaw)
    return None


def answer_handshake(
    flow: Flow, handshakes: Handshakes, request: Request, *, now: datetime
) -> Reply | Visit | Rejection | None:
    """Answer an admitted request if it is a handshake; None if it may have events, and is still to be verified."""
    handshake = handshakes.fitting(request)
    if handshake is None:
        return _refusal_as_event(flow, handshakes, request)
    if handshake.is_authenticated and (
        rejected := _refusal_without_key(flow, request.head) or verify(flow, request, now=now)
    ):
        return rejected
    answer = handshake.answer(request)
    return rejection.handshake_refused(answer) if isinstance(answer, Refused) else answer


def judge(flow: Flow, mode: Mode, request: Request, *, now: datetime) -> Sequence[Event] | Rejection:
    """Return the events of a verified request, all of them or none."""
    try:
        return read_events(mode, flow, request, now=now)
    except TooLargeError as error:
        return Rejection(reason=Reason.TOO_LARGE, status=413, detail=f"Too large: {error}.")
    except InvalidEventError as error:
        return rejection.invalid(error)


def is_known_key(given: str | None, keys: Sequence[bytes]) -> bool:
    """Whether a text is one of the keys. The duration of the comparison reveals nothing about the keys."""
    candidate = (given or "").encode(errors="surrogateescape")
    matches = [hmac.compare_digest(candidate, key) for key in keys]
    return any(matches)


def _refusal_of(flow: Flow, head: Head) -> Rejection | None:
    """Return the refusal of a request that this flow does not take."""
    headers = head.headers
    if head.sub_path:
        return rejection.UNKNOWN_PATH
    if head.method not in EVENT_METHODS and not (
        flow.handshakes is not None and head.method in flow.handshakes.methods
    ):
        return rejection.not_served(head.method, allowed=_methods_of(flow))
    if (rejected := _refusal_without_key(flow, head)) is not None and not (
        flow.handshakes is not None and flow.handshakes.may_begin_with(head)
    ):
        return rejected
    if "Content-Encoding" in headers and not _is_identity(headers):
        return rejection.ENCODED
    return None


def _refusal_without_key(flow: Flow, head: Head) -> Rejection | None:
    if flow.api_keys and not is_known_key(head.headers.get("X-Api-Key"), flow.api_keys):
        return rejection.unauthenticated(Reason.UNAUTHENTICATED)
    return None


def _refusal_as_event(flow: Flow, handshakes: Handshakes, request: Request) -> Rejection | None:
    """Return the refusal of a request that is no handshake, but might have been one by its head."""
    if request.head.method not in EVENT_METHODS:
        return rejection.NO_HANDSHAKE
    if handshakes.may_have_signed(request.body):
        return rejection.unauthenticated(Flaw.MISMATCH)
    return _refusal_without_key(flow, request.head)


def _methods_of(flow: Flow) -> str:
    """Return the methods that a flow takes, as `Allow` lists them."""
    methods = EVENT_METHODS if flow.handshakes is None else {*EVENT_METHODS, *flow.handshakes.methods}
    return ",".join(sorted(methods))


def _is_identity(headers: MultiMapping[str]) -> bool:
    """Whether the header lines of Content-Encoding, each a list, contain no encoding except `identity`."""
    lines = headers.getall("Content-Encoding")
    return all(coding.strip().lower() in {"", "identity"} for line in lines for coding in line.split(","))
