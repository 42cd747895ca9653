"""Results of attempts, and the judgement of an answer. Pure."""

from dataclasses import dataclass

from eventflow.errors import EventFlowError
from eventflow_processor.target.feedback import NOTHING, Feedback
from eventflow_processor.target.success import SuccessRule

BY_STATUS = SuccessRule()
"""2xx is success."""

REASONS = (
    "throttled",
    "client_error",
    "server_error",
    "redirect",
    "unexpected_status",
    "refused",
    "timeout",
    "connection",
    "internal",
)
"""Reasons of failed attempts: a closed set, as labels of metrics must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The target has taken the event."""

    status: int
    feedback: Feedback = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The target has not taken the event.

    Attributes:
        reason: One of `REASONS`.
        status: None if no status line came.
        detail: Cause of a failure in the network, a word of `network.failure.MEANINGS`; None if an answer was judged.
        asks_to_wait: Whether the target wants fewer requests, and not another one of these.
        reached: Whether there was a connection to send the request on. False if the name was not resolved, or if the
            connection or TLS failed.
        answered: Whether a byte of an answer came. If not, the application has most likely not seen the request.
        feedback: What the answer says about the quota. Its `retry_after_s` holds for the flow if `asks_to_wait`, else
            for this event alone.
    """

    reason: str
    status: int | None = None
    detail: str | None = None
    asks_to_wait: bool = False
    reached: bool = True
    answered: bool = True
    feedback: Feedback = NOTHING


class AttemptNotMadeError(EventFlowError):
    """Nothing was sent, for a reason of our own, such as no file descriptor left or a host that cannot be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errored:
    """An error of our own ended the attempt. It says nothing about the target, so it neither counts nor steers."""

    error: Exception


Judged = Succeeded | Failed
"""Results that say something about the target."""

Result = Judged | Errored


def judge(
    status: int,
    *,
    feedback: Feedback = NOTHING,
    is_refused: bool = False,
    steers: bool = True,
    success: SuccessRule = BY_STATUS,
    refusal: str | None = None,
    detail: str | None = None,
) -> Judged:
    """Distinguish success from failure by the status, and by the verdict on the body if there is one.

    Args:
        feedback: What the answer says about the quota.
        is_refused: Whether its body says that the request was not carried out for want of quota.
        steers: Whether answers steer the rate; else a 429 is a failure like any other.
        success: Which statuses are a success.
        refusal: Why an answer with such a status is a failure by its body; None if it is none.
        detail: Why its body could not be read.
    """
    if status in success.statuses and not is_refused:
        if refusal is None:
            return Succeeded(status=status, feedback=feedback)
        return Failed(reason=refusal, status=status, detail=detail, feedback=feedback)
    reasons = {3: "redirect", 4: "client_error", 5: "server_error"}
    is_throttled = is_refused or status == 429
    has_no_room = status == 403 and feedback.room == 0
    return Failed(
        reason="throttled" if is_throttled else reasons.get(status // 100, "unexpected_status"),
        status=status,
        asks_to_wait=steers
        and (is_throttled or has_no_room or (status in {403, 503} and feedback.retry_after_s is not None)),
        feedback=feedback,
    )
