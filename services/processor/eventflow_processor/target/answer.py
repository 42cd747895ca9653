"""Judgement of an answer: status, headers and body -> result. Pure, and the same for every HTTP client."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eventflow.network.failure import PLAIN_ON_TLS_PORT
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.result import BY_STATUS, Failed, Judged, judge
from eventflow_processor.target.success import SuccessRule, parsed

_PLAIN_REFUSED = re.compile(
    rb"HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"  # nginx, Go
    rb"|speaking plain HTTP to an SSL-enabled|requires TLS"  # Apache, Tomcat
)
"""In the bodies of 400s by which TLS ports refuse requests in plain HTTP; no application has seen these."""


DRAIN_S = 1.0
"""Time for which a body is read that does not decide whether the event was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyBounds:
    """Bounds within which the body of an answer is read.

    Attributes:
        max_bytes: Length after which the rest is not read.
        within_s: Time after which the rest is not read: `DRAIN_S`, or None if only the deadline of the attempt counts.
    """

    max_bytes: int
    within_s: float | None = None


RULED = BodyBounds(max_bytes=1024 * 1024)
"""If the success depends on the body. A longer body is unreadable."""

DRAINED = BodyBounds(max_bytes=64 * 1024, within_s=DRAIN_S)
"""If the result is certain, and the body is read only so that the connection can be used again."""

REFUSAL = BodyBounds(max_bytes=2048, within_s=DRAIN_S)
"""If the beginning of the body shows whether the port expects TLS."""


@dataclass(slots=True, kw_only=True)
class AnswerBody:
    """The part of a body that was read. Its fields are final as in `Event`.

    Attributes:
        is_whole: Whether this is the body to its end.
        broken: Reason and detail, if the network is the cause that it is not whole.
    """

    content: Final[bytes] = b""
    is_whole: Final[bool] = True
    broken: Final[tuple[str, str] | None] = None


NO_BODY = AnswerBody()


class AnswerJudge:
    """Judges the answers of one target."""

    def __init__(self, *, feedback: FeedbackReader, success: SuccessRule = BY_STATUS, is_plain: bool) -> None:
        """Judge by the settings of a target; with `is_plain`, its requests are sent without TLS."""
        self._feedback = feedback
        self._success = success
        self._is_plain = is_plain
        self._reads_bodies = success.reads_bodies or feedback.reads_bodies
        self._steers = feedback.mode != "none"

    def bounds_of(self, status: int) -> BodyBounds | None:
        """Return the bounds within which to read the body of an answer; None if it is not needed."""
        if self._reads_bodies:
            return RULED
        if status in self._success.statuses:
            return DRAINED
        return REFUSAL if status == 400 and self._is_plain else None

    def result_of(self, status: int, headers: Mapping[str, str], body: AnswerBody, *, now: datetime) -> Judged:
        """Judge an answer. The names in `headers` are in lower case."""
        if self.bounds_of(status) is REFUSAL and _PLAIN_REFUSED.search(body.content):
            return Failed(reason="connection", status=status, detail=PLAIN_ON_TLS_PORT, reached=False, answered=False)
        feedback, is_throttled = self._feedback.of_headers(headers, now=now), False
        refusal = detail = None
        if self._reads_bodies:
            document = parsed(body.content if body.is_whole else None)
            feedback, is_throttled = self._feedback.of_document(document, head=feedback)
            if self._success.refuses(document):
                refusal, detail = body.broken or ("refused", None)
        return judge(
            status,
            feedback=feedback,
            is_refused=is_throttled,
            steers=self._steers,
            success=self._success,
            refusal=refusal,
            detail=detail,
        )
