"""Judgement of an answer: status, headers and body -> result. Pure, and the same for every HTTP client."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from eventflow.excerpt import excerpt_of
from eventflow.network.failure import PLAIN_ON_TLS_PORT
from eventflow_processor.target.feedback import NAMES, FeedbackReader
from eventflow_processor.target.kept_answer import CONTENT_ENCODING, CONTENT_TYPE, KEPT_NAMES, AnswerKeeping
from eventflow_processor.target.redaction import Pause, Secrets
from eventflow_processor.target.result import BY_STATUS, Failed, Judged, KeptAnswer, Succeeded, judge
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
"""If the status decides. The body is read so that the connection can be used again, and for the text of a failure."""


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


class AnswerJudge:
    """Judges the answers of one target.

    Attributes:
        bounds: The bounds within which to read the body of an answer.
        header_names: The headers of an answer that are needed, in lower case.
    """

    def __init__(
        self,
        *,
        feedback: FeedbackReader,
        success: SuccessRule = BY_STATUS,
        is_plain: bool,
        secrets: Collection[str] = (),
        keeping: AnswerKeeping | None = None,
    ) -> None:
        """Judge by the settings of a target.

        Args:
            feedback: Reads the rate information in its answers.
            success: The rules for a success.
            is_plain: Whether its requests are sent without TLS.
            secrets: Texts in its requests that no log line may contain, although its answers may repeat them.
            keeping: The answers that the history keeps; None if it keeps none.
        """
        self._feedback = feedback
        self._success = success
        self._reads_bodies = success.reads_bodies or feedback.reads_bodies
        self._may_lack_tls = is_plain and not self._reads_bodies and 400 not in success.statuses
        self.bounds = RULED if self._reads_bodies else DRAINED
        self._steers = feedback.mode != "none"
        self._secrets = Secrets(secrets)
        self._keeping = keeping
        self._pause = Pause()
        self._keeps_successes = keeping is not None and keeping.of_successes
        self.header_names = NAMES if keeping is None else NAMES | KEPT_NAMES

    def hide_token(self, token: str) -> None:
        """Hide an access token, and the one before it, which the answers to requests in progress may still repeat."""
        self._secrets.add_token(token)

    def text_of(self, content: bytes, *, is_whole: bool = True) -> str | None:
        """Return the beginning of an answer for people, without the secrets; None if it is empty.

        Args:
            content: The answer.
            is_whole: Whether it ends here. If not, its end may be the beginning of a secret, which is hidden too.
        """
        # Before the excerpt is cut: hiding a secret moves the rest of the text forward.
        return excerpt_of(self._secrets.struck_from(content, is_whole=is_whole))

    def text_in_place_of(self, head: bytes) -> str | None:
        """Return the beginning of a head that cannot be read. Of one that begins as HTTP, it is the first line only."""
        shown = head.partition(b"\n")[0] if head.startswith(b"HTTP/") else head
        return self.text_of(shown, is_whole=False)

    def result_of(self, status: int, headers: Mapping[str, str], body: AnswerBody, *, now: datetime) -> Judged:
        """Judge an answer. The names in `headers` are in lower case."""
        if status == 400 and self._may_lack_tls and _PLAIN_REFUSED.search(body.content):
            text = self.text_of(body.content, is_whole=body.is_whole)
            return Failed(
                reason="connection",
                status=status,
                detail=PLAIN_ON_TLS_PORT,
                text=text,
                reached=False,
                answered=False,
                answer=self._kept(headers, body),
            )
        feedback, is_throttled = self._feedback.of_headers(headers, now=now), False
        refusal = detail = None
        if self._reads_bodies:
            document = parsed(body.content if body.is_whole else None)
            feedback, is_throttled = self._feedback.of_document(document, head=feedback)
            if self._success.refuses(document):
                refusal, detail = body.broken or ("refused", None)
        result = judge(
            status,
            feedback=feedback,
            is_refused=is_throttled,
            steers=self._steers,
            success=self._success,
            refusal=refusal,
            detail=detail,
        )
        if isinstance(result, Failed):
            text = self.text_of(body.content, is_whole=body.is_whole)
            return replace(result, text=text, answer=self._kept(headers, body))
        if self._keeps_successes:
            return Succeeded(status=status, feedback=result.feedback, answer=self._kept(headers, body))
        return result

    def _kept(self, headers: Mapping[str, str], body: AnswerBody) -> KeptAnswer | None:
        """Return the part of an answer that the history keeps; None if it keeps none."""
        if self._keeping is None:
            return None
        try:
            return self._keeping.kept(
                body.content,
                is_whole=body.is_whole,
                encoding=headers.get(CONTENT_ENCODING),
                kind=headers.get(CONTENT_TYPE),
                secrets=self._secrets,
                pause=self._pause,
            )
        except Exception as error:  # noqa: BLE001 - a guard: otherwise an event that the target has accepted is repeated
            self._keeping.on_error(error)
            return None
