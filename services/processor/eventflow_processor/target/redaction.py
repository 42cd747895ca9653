"""Redaction of answers: our own secrets, and the matches of an operator's patterns."""

import math
import re
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from eventflow_processor.target.secrets import SECRET_MIN_CHARACTERS, forms_of

HIDDEN: Final = b"***"
"""In place of a secret in an answer."""

PATTERNS_MAX_S = 0.05
"""Longest CPU time for the patterns of an operator in one answer. With backtracking, a pattern can need years."""

SLOW_PAUSE_S = 60.0
"""Time after such an answer in which no other one of its target is tried, so that it cannot slow the processor down."""

log = structlog.stdlib.get_logger()


class Secrets:
    """The secrets in the requests to a target, which its answers may repeat."""

    def __init__(self, fixed: Collection[str]) -> None:
        """Begin with the secrets in the settings, in all their forms."""
        self._fixed = frozenset(fixed)
        self._tokens: tuple[str, ...] = ()
        self._longest_first = _longest_first(self._fixed)

    @property
    def longest_bytes(self) -> int:
        """Length of the longest secret."""
        return len(self._longest_first[0]) if self._longest_first else 0

    def add_token(self, token: str) -> None:
        """Add an access token in place of the last but one: the answers to requests in progress may repeat the last."""
        self._tokens = (*self._tokens[-1:], token)
        self._longest_first = _longest_first(self._fixed.union(*map(forms_of, self._tokens)))

    def struck_from(self, content: bytes, *, is_whole: bool) -> bytes:
        """Return an answer without the secrets.

        Args:
            content: The answer.
            is_whole: Whether it ends here. If not, its end may be the beginning of a secret, which is hidden too.
        """
        for secret in self._longest_first:  # the longest first, since one may contain another
            content = content.replace(secret, HIDDEN)
            if not is_whole and (begins := _begins_at_end(secret, content)) is not None:
                content = content[:begins] + HIDDEN
        return content


@dataclass(slots=True)
class Pause:
    """Time until which the patterns are not tried on the answers of one target.

    Each target has its own pause, so that a slow pattern does not cost other targets their answers.
    """

    until_s: float = -math.inf


class Patterns:
    """The regular expressions of an operator. They are stopped after a while, because they may need any time.

    A thread would not help: while `re` searches, no other thread runs. But it looks for signals, so a timer of the
    processor time stops it. There is one object for a process, since it owns this timer and its signal.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Compile them. With patterns, this must run on the main thread, the only one that handles signals."""
        self._patterns = tuple(re.compile(pattern.encode()) for pattern in patterns)
        self._is_searching = False
        if self._patterns:
            # For ever: if the handler were removed, a signal that comes a moment too late would end the process.
            signal.signal(signal.SIGVTALRM, self._stop)
            signal.siginterrupt(signal.SIGVTALRM, False)  # it must not disturb a system call of another thread

    def struck_from(self, content: bytes, pause: Pause) -> bytes | None:
        """Return an answer without the matches; None if they are not found in time, so that it must not be kept.

        Args:
            content: The answer.
            pause: The pause of its target.
        """
        if not self._patterns or not content:
            return content
        if time.monotonic() < pause.until_s:
            return None
        signal.setitimer(signal.ITIMER_VIRTUAL, PATTERNS_MAX_S)
        try:
            self._is_searching = True
            for pattern in self._patterns:
                content = pattern.sub(HIDDEN, content)
            self._is_searching = False  # inside of `try`: from here on, a late signal raises nothing
        except _TooSlowError:
            self._is_searching = False
            pause.until_s = time.monotonic() + SLOW_PAUSE_S
            log.error("history.redaction_too_slow", pattern=pattern.pattern.decode(), pause_s=SLOW_PAUSE_S)  # noqa: TRY400
            return None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return content

    def _stop(self, _number: int, _frame: object) -> None:
        if self._is_searching:
            raise _TooSlowError


class _TooSlowError(Exception):
    """The patterns need too much time."""


def _longest_first(secrets: Collection[str]) -> list[bytes]:
    return sorted((secret.encode() for secret in secrets), key=len, reverse=True)


def _begins_at_end(secret: bytes, content: bytes) -> int | None:
    """Return the position from which the end of `content` is the beginning of a secret; None if there is none."""
    start = max(0, len(content) - len(secret))
    while (start := content.find(secret[:SECRET_MIN_CHARACTERS], start)) >= 0:
        if secret.startswith(content[start:]):
            return start
        start += 1
    return None
