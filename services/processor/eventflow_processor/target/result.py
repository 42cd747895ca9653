"""Result of an attempt, and the judgement of an answer. Pure."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from eventflow.errors import EventFlowError, UnsendableEventError
from eventflow_processor.target.feedback import NOTHING, Feedback
from eventflow_processor.target.success import SuccessRule

BY_STATUS = SuccessRule()
"""2xx is success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """The part of an answer that the history keeps.

    Attributes:
        content: The beginning of the body, without secrets; None if it may have some that cannot be found.
        content_type: Printable, and of limited length.
        size_bytes: Length of the body, as far as it was read.
    """

    content: bytes | None
    content_type: str | None
    size_bytes: int


@dataclass(slots=True, kw_only=True)
class Succeeded:
    """The target has accepted the event. Its fields are final as in `Event`.

    Attributes:
        status: None if the target is a handler.
        reason: Why nothing had to be done, such as `duplicate`; nearly always None.
        answer: Its answer, if the history keeps answers of successes.
    """

    status: Final[int | None] = None
    reason: Final[str | None] = None
    feedback: Final[Feedback] = NOTHING
    answer: Final[KeptAnswer | None] = None


class Order(Enum):
    """What the target orders about an event that it has not accepted. Only a handler can order anything but a retry."""

    RETRY = auto()
    """Try again, until the last counted attempt."""
    RETRY_LATER = auto()
    """Try again after the time in `feedback.retry_after_s`; this attempt does not count."""
    GIVE_UP = auto()
    """Make it a dead letter at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The target has not accepted the event.

    Attributes:
        reason: One of `FAILURE_REASONS`.
        status: None if there was no status line.
        detail: Cause of a failure in the network, a word of `network.failure.MEANINGS`; None if an answer was judged.
        text: The words of the target or of the network for people: the beginning of the answer's body, the bytes in
            place of an answer, or the message of an error. One printable line without our secrets, an `excerpt_of`.
        asks_to_wait: Whether the target asks for fewer requests, so that the failure is not that of the event.
        reached: Whether there was a connection to send the request on. False if the name was not resolved, or if the
            connection or TLS failed.
        answered: Whether a byte of an answer arrived. If not, the application has most likely not seen the request.
        feedback: The rate information in the answer. Its `retry_after_s` applies to the flow if `asks_to_wait`, and
            otherwise to this event alone.
        answer: Its answer, if there was one and if the history keeps answers.
        order: What follows for the event, unless the state of the target decides it.
    """

    reason: str
    status: int | None = None
    detail: str | None = None
    text: str | None = field(default=None, compare=False)  # its wording differs between clients and systems
    asks_to_wait: bool = False
    reached: bool = True
    answered: bool = True
    feedback: Feedback = NOTHING
    answer: KeptAnswer | None = field(default=None, compare=False)
    order: Order = Order.RETRY


class AttemptNotMadeError(EventFlowError):
    """Nothing was sent, for an internal reason, such as no free file descriptor or a malformed host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errored:
    """An internal error ended the attempt. It shows nothing about the target: no attempt counts, no rate changes."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsendable:
    """No request could be built for the event. It shows nothing about the target, and another attempt cannot help.

    Attributes:
        text: The cause, for people.
    """

    text: str


Judged = Succeeded | Failed
"""Results that show the state of the target."""

Result = Judged | Errored | Unsendable


def result_of_error(error: Exception) -> Errored | Unsendable:
    """Return the result of an attempt that ended in an error of our own."""
    return Unsendable(text=str(error)) if isinstance(error, UnsendableEventError) else Errored(error=error)


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
        feedback: The rate information in the answer.
        is_refused: Whether its body reports that the request was refused because the quota is exhausted.
        steers: Whether answers control the rate; if not, a 429 is a failure like any other.
        success: The rules for a success, with its statuses.
        refusal: Reason for which the body makes an answer with such a status a failure; None if it does not.
        detail: Cause for which its body could not be read.
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
