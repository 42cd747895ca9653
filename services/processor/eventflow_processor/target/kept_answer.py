"""The part of an answer that the history keeps: its beginning, without secrets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from eventflow_processor.target.redaction import Patterns, Pause, Secrets
from eventflow_processor.target.result import KeptAnswer

CONTENT_TYPE: Final = "content-type"
CONTENT_ENCODING: Final = "content-encoding"
KEPT_NAMES: Final = frozenset({CONTENT_TYPE, CONTENT_ENCODING})
"""Headers that are read for the history only."""

PATTERN_REACH_BYTES = 1024
"""Bytes after the kept ones that are searched too, because a match may begin before the cut and end after it."""

TYPE_MAX_CHARACTERS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerKeeping:
    """The answers that are kept.

    Attributes:
        max_bytes: Length after which an answer is cut.
        of_successes: Whether answers of successes are kept too, and not only those of failures.
        patterns: The patterns of an operator, for texts that must not be kept.
        on_error: Called with an unexpected error, which costs only the kept answer.
    """

    max_bytes: int
    of_successes: bool = False
    patterns: Patterns = field(default_factory=Patterns)
    on_error: Callable[[Exception], None] = lambda _: None

    def kept(
        self, content: bytes, *, is_whole: bool, encoding: str | None, kind: str | None, secrets: Secrets, pause: Pause
    ) -> KeptAnswer:
        """Return the part of an answer that is kept.

        Args:
            content: The part of the body that was read.
            is_whole: Whether it is the body to its end.
            encoding: The `Content-Encoding`. In a compressed body no secret can be found, so nothing of it is kept.
            kind: The `Content-Type`.
            secrets: Our secrets, which it may repeat.
            pause: The pause of its target, after an answer in which the patterns took too long.
        """
        beginning: bytes | None = None
        if encoding is None or encoding.lower() == "identity":
            searched = content[: self.max_bytes + max(secrets.longest_bytes, PATTERN_REACH_BYTES)]
            clean = secrets.struck_from(searched, is_whole=is_whole and len(searched) == len(content))
            beginning = self.patterns.struck_from(clean[: self.max_bytes + PATTERN_REACH_BYTES], pause)
        return KeptAnswer(
            content=None if beginning is None else beginning[: self.max_bytes],
            content_type=None if kind is None else _shown(kind, secrets),
            size_bytes=len(content),
        )


def _shown(kind: str, secrets: Secrets) -> str:
    """Return a content type in printable ASCII and without our secrets, because it can be any bytes."""
    kind = kind if kind.isascii() and kind.isprintable() else ascii(kind)[1:-1]
    is_whole = len(kind) <= TYPE_MAX_CHARACTERS
    return secrets.struck_from(kind[:TYPE_MAX_CHARACTERS].encode(), is_whole=is_whole).decode()
