"""The judgement of a request: by its head alone first, then by its body. Pure and synchronous.

`admit` refuses as much as possible before a body is read. Between it and `judge`, its caller waits for the body; a
caller that has the whole request calls both at once.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from multidict import MultiMapping

from eventflow.errors import InvalidEventError
from eventflow.event import Event
from eventflow_collector.intake import rejection
from eventflow_collector.intake.events import TooLargeError, read_events
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.mode import Mode, UnknownModeError, mode_of
from eventflow_collector.intake.rejection import Reason, Rejection


def admit(flow: Flow, headers: MultiMapping[str], *, batch: str | None) -> Mode | Rejection:
    """Judge a request by its head; return how it carries its events.

    Args:
        flow: The flow that it is for.
        headers: Looked up without regard to case.
        batch: The query parameter `batch`.
    """
    if flow.api_keys and not is_known_key(headers.get("X-Api-Key"), flow.api_keys):
        return rejection.unauthenticated(Reason.UNAUTHENTICATED)
    if "Content-Encoding" in headers and not _is_identity(headers):
        return rejection.ENCODED
    try:
        return mode_of(headers, batch=batch)
    except UnknownModeError as error:
        detail = f"Not taken: {error}."
        return Rejection(reason=Reason.CONTENT_TYPE, status=415, detail=detail, closes=True)
    except InvalidEventError as error:
        return rejection.invalid(error, closes=True)


def judge(
    flow: Flow, mode: Mode, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> Sequence[Event] | Rejection:
    """Return the events of an admitted request, all of them or none."""
    if flow.verifier is not None and (flaw := flow.verifier.flaw_of(headers, body, now=now)) is not None:
        return rejection.unauthenticated(flaw)
    try:
        return read_events(mode, flow, headers=headers, body=body, now=now)
    except TooLargeError as error:
        return Rejection(reason=Reason.TOO_LARGE, status=413, detail=f"Too large: {error}.")
    except InvalidEventError as error:
        return rejection.invalid(error)


def is_known_key(given: str | None, keys: Sequence[bytes]) -> bool:
    """Whether a text is one of the keys. The time that this takes shows neither which nor how much of it is right."""
    candidate = (given or "").encode(errors="surrogateescape")
    matches = [hmac.compare_digest(candidate, key) for key in keys]
    return any(matches)


def _is_identity(headers: MultiMapping[str]) -> bool:
    """Whether no header line of Content-Encoding, each a list, names an encoding."""
    lines = headers.getall("Content-Encoding")
    return all(coding.strip().lower() in {"", "identity"} for line in lines for coding in line.split(","))
