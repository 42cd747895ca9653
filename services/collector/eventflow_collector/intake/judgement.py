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
from eventflow_collector.senders.request import Request


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


def judge(flow: Flow, mode: Mode, head: Head, body: bytes, *, now: datetime) -> Sequence[Event] | Rejection:
    """Return the events of an admitted request, all of them or none."""
    request = Request(head, body)
    if flow.verifier is not None and (flaw := flow.verifier.flaw_of(request, now=now)) is not None:
        return rejection.unauthenticated(flaw)
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
    if head.method != "POST":
        return rejection.not_served(head.method, allowed="POST")
    if flow.api_keys and not is_known_key(headers.get("X-Api-Key"), flow.api_keys):
        return rejection.unauthenticated(Reason.UNAUTHENTICATED)
    if "Content-Encoding" in headers and not _is_identity(headers):
        return rejection.ENCODED
    return None


def _is_identity(headers: MultiMapping[str]) -> bool:
    """Whether the header lines of Content-Encoding, each a list, contain no encoding except `identity`."""
    lines = headers.getall("Content-Encoding")
    return all(coding.strip().lower() in {"", "identity"} for line in lines for coding in line.split(","))
