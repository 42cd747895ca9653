"""The judgement of a request: by its head alone first, then by its body. Pure and synchronous.

`admit` refuses as much as possible before the body is read. Then its caller reads the body, and calls `verify` and
`judge`. A body with a content coding is decoded between these two steps, or before them if the sender signs the decoded
bytes.
"""

from collections.abc import Sequence
from datetime import datetime

from eventflow.errors import InvalidEventError
from eventflow.event import Event
from eventflow.signing import header_bytes
from eventflow_collector.head import Head, Peer
from eventflow_collector.intake import rejection
from eventflow_collector.intake.codings import codings_of
from eventflow_collector.intake.events import TooLargeError, read_events
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.mode import Mode, UnknownModeError, mode_of
from eventflow_collector.intake.rejection import Reason, Rejection
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.request import Request
from eventflow_collector.senders.secret_text import is_one_of


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
    try:
        return mode_of(head.headers, batch=head.parameter("batch"))
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


def judge(flow: Flow, mode: Mode, request: Request, *, now: datetime) -> Sequence[Event] | Rejection:
    """Return the events of a verified request, all of them or none. Its body is decoded."""
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
    if head.method not in flow.methods:
        return rejection.not_served(head.method, allowed=flow.methods)
    if flow.api_keys and not is_one_of(header_bytes(headers.get("X-Api-Key", "")), flow.api_keys):
        return rejection.unauthenticated(Reason.UNAUTHENTICATED)
    if "Content-Encoding" in headers and codings_of(headers) is None:
        return rejection.UNKNOWN_CODING
    return None
