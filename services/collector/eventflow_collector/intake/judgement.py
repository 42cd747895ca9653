"""The judgement of a request: by its head alone first, then by its body. Pure and synchronous.

`admit` refuses as much as possible before the body is read. Then its caller reads the body, and calls `judge`. A body
with a content coding is decoded before. If the sender signs the coded bytes, `verify` checks them before that.
"""

from collections.abc import Sequence
from datetime import datetime

from eventflow.errors import InvalidEventError
from eventflow.event import Event
from eventflow_collector.head import Head
from eventflow_collector.intake import rejection
from eventflow_collector.intake.codings import codings_of
from eventflow_collector.intake.events import TooLargeError, read_events
from eventflow_collector.intake.flow import Flow, has_key
from eventflow_collector.intake.mode import Mode, UnknownModeError, mode_of
from eventflow_collector.intake.rejection import Reason, Rejection
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.handshake import Handshakes, Refused, Reply, Visit
from eventflow_collector.senders.request import Request


def admit(flow: Flow, head: Head) -> Mode | Rejection:
    """Judge a request by its head; return the mode in which it carries its events."""
    refused = _refusal_of(flow, head)
    if refused is not None:
        return refused
    if head.method not in flow.methods:
        return Mode.OPAQUE  # a handshake, if it is anything
    try:
        return mode_of(head.headers, batch=head.parameter("batch") if head.query else None)
    except UnknownModeError as error:
        detail = f"Not accepted: {error}."
        return Rejection(reason=Reason.CONTENT_TYPE, status=415, detail=detail, closes=True)
    except InvalidEventError as error:
        return rejection.invalid(error, closes=True)


def verify(flow: Flow, request: Request, *, now: datetime) -> Rejection | None:
    """Return the refusal of an admitted request that its sender has not signed as the flow demands."""
    if flow.authenticate is not None and (flaw := flow.authenticate(request, now)) is not None:
        return rejection.NO_CERTIFICATE if flaw is Flaw.NO_CERTIFICATE else rejection.unauthenticated(flaw)
    return None


def answer_handshake(
    flow: Flow, handshakes: Handshakes, request: Request, *, now: datetime, is_verified: bool
) -> Reply | Visit | Rejection | None:
    """Answer an admitted request if it is a handshake; None if it may have events, and is still to be verified.

    Args:
        flow: The flow of the request.
        handshakes: Of the flow.
        request: With a decoded body.
        now: The present time.
        is_verified: Whether the request was verified before its body was decoded.
    """
    handshake = handshakes.fitting(request)
    if handshake is None:
        return None if request.head.method in flow.methods else rejection.NO_HANDSHAKE
    if handshake.is_authenticated and not is_verified and (rejected := verify(flow, request, now=now)) is not None:
        return rejected
    answer = handshake.answer(request)
    return rejection.handshake_refused(answer) if isinstance(answer, Refused) else answer


def judge(
    flow: Flow, mode: Mode, request: Request, *, now: datetime, is_verified: bool = False
) -> Sequence[Event] | Rejection:
    """Return the events of an admitted request, all of them or none.

    Args:
        flow: The flow of the request.
        mode: Of the request.
        request: With a decoded body.
        now: The present time.
        is_verified: Whether the request was verified before its body was decoded.
    """
    if not is_verified and (rejected := verify(flow, request, now=now)) is not None:
        return rejected
    try:
        return read_events(mode, flow, request, now=now)
    except TooLargeError as error:
        return Rejection(reason=Reason.TOO_LARGE, status=413, detail=f"Too large: {error}.")
    except InvalidEventError as error:
        return rejection.invalid(error)


def _refusal_of(flow: Flow, head: Head) -> Rejection | None:
    """Return the refusal of a request that this flow does not take."""
    headers = head.headers
    if head.sub_path and not flow.has_path(head.sub_path):
        return rejection.UNKNOWN_PATH
    if head.method not in flow.methods and not flow.shakes_hands_by(head.method):
        return rejection.not_served(head.method, allowed=flow.all_methods)
    if not (has_key(headers, flow.api_keys) or flow.may_be_handshake_of_stranger(head)):
        return rejection.unauthenticated(Reason.UNAUTHENTICATED)
    if "Content-Encoding" in headers and codings_of(headers) is None:
        return rejection.UNKNOWN_CODING
    return None
