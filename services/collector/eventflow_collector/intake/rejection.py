"""Refusal of a request, as a value with its reason. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from eventflow_collector.intake.codings import ACCEPTED, CODINGS_MAX
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.handshake import Refused


class Reason(StrEnum):
    """Reasons of refusals; together with `Flaw` the label of `eventflow_events_rejected_total`."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    UNKNOWN_FLOW = "unknown_flow"
    UNKNOWN_PATH = "unknown_path"
    METHOD = "method"
    HANDSHAKE = "handshake"
    TOO_SLOW = "body_timeout"
    TOO_LARGE = "body_too_large"
    ENCODED = "content_encoding"
    CONTENT_TYPE = "content_type"
    OVERLOADED = "overloaded"
    UNCONFIRMED = "unconfirmed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The refusal of a request; none of its events counts as accepted.

    Attributes:
        reason: For metrics and logs.
        status: HTTP status of the answer.
        detail: For the sender.
        closes: The connection is closed after the answer, because the rest of the request is not read.
        headers: Of the answer, in addition to those of every problem.
    """

    reason: Reason | Flaw
    status: int
    detail: str
    closes: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


UNKNOWN_FLOW = Rejection(reason=Reason.UNKNOWN_FLOW, status=404, detail="There is no such flow.", closes=True)
UNKNOWN_PATH = Rejection(reason=Reason.UNKNOWN_PATH, status=404, detail="There is nothing at this path.", closes=True)
NO_HANDSHAKE = Rejection(
    reason=Reason.HANDSHAKE, status=400, detail="With this method, the flow takes handshakes of its sender only."
)
UNVISITED = Rejection(
    reason=Reason.HANDSHAKE, status=503, detail="The subscription could not be confirmed. Send the request again."
)
UNKNOWN_CODING = Rejection(
    reason=Reason.ENCODED,
    status=415,
    detail=f"Content-Encoding may be {', '.join(ACCEPTED)}, or up to {CODINGS_MAX} of them in a list.",
    closes=True,
    headers={"Accept-Encoding": ", ".join(ACCEPTED)},
)
INTERRUPTED = Rejection(
    reason=Reason.INTERRUPTED, status=400, detail="The body is incomplete or badly framed.", closes=True
)
OVERLOADED = Rejection(reason=Reason.OVERLOADED, status=503, detail="Too much is in flight just now.", closes=True)
NO_CERTIFICATE = Rejection(
    reason=Flaw.NO_CERTIFICATE, status=503, detail="The certificate could not be fetched. Send the request again."
)
UNCONFIRMED = Rejection(
    reason=Reason.UNCONFIRMED, status=503, detail="The event could not be made durable. Send it again."
)


def not_served(method: str, *, allowed: Sequence[str]) -> Rejection:
    """Reject a method that the flow does not take."""
    detail = f"{method} is not served at this path."
    return Rejection(reason=Reason.METHOD, status=405, detail=detail, closes=True, headers={"Allow": ",".join(allowed)})


def unauthenticated(reason: Reason | Flaw) -> Rejection:
    """Reject a request from an unknown sender. The answer does not show the failed part of the check."""
    detail = "X-Api-Key or the signature is missing, wrong or too old."
    return Rejection(reason=reason, status=401, detail=detail, closes=True)


def invalid(error: Exception, *, closes: bool = False) -> Rejection:
    """Reject a request that is not an event."""
    return Rejection(reason=Reason.INVALID, status=400, detail=f"Not an event: {error}.", closes=closes)


def handshake_refused(refused: Refused) -> Rejection:
    """Reject a handshake."""
    return Rejection(reason=Reason.HANDSHAKE, status=refused.status, detail=refused.detail)


def broken_coding(error: Exception) -> Rejection:
    """Reject a body that cannot be decoded."""
    return Rejection(reason=Reason.ENCODED, status=400, detail=f"Not decoded: {error}.")


def body_too_large(max_bytes: int) -> Rejection:
    """Reject a body that the flow's settings do not allow."""
    detail = f"A body may have at most {max_bytes} bytes."
    return Rejection(reason=Reason.TOO_LARGE, status=413, detail=detail, closes=True)


def event_too_large(max_bytes: int) -> Rejection:
    """Reject an event that is too large for the broker."""
    return Rejection(reason=Reason.TOO_LARGE, status=413, detail=f"An event may have at most {max_bytes} bytes.")


def headers_too_large(max_bytes: int) -> Rejection:
    """Reject an event whose attributes and forwarded headers are too large for a frame of the broker."""
    detail = f"The attributes and the forwarded headers of an event may have at most about {max_bytes} bytes."
    return Rejection(reason=Reason.TOO_LARGE, status=413, detail=detail)


def body_too_slow(timeout_s: float) -> Rejection:
    """Reject a body that has not arrived in time."""
    detail = f"The body did not arrive within {timeout_s:g} s."
    return Rejection(reason=Reason.TOO_SLOW, status=408, detail=detail, closes=True)
