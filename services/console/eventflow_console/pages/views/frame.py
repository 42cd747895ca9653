"""The frame of every page: navigation, notices, and the name of the operator. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Tone = Literal["good", "slow", "bad", "idle"]
"""The colour of a word. It adds nothing to the meaning of the word, for people who do not see the colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A sentence above the content about something that is wrong.

    Attributes:
        since: Start of the state; None if it is unknown.
        detail: The reason in the words of another program.
        remedy: Advice for a person.
    """

    tone: Tone
    title: str
    since: datetime | None = None
    detail: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The parts of a page that all pages have.

    Attributes:
        nav: The entry of the navigation to which the page belongs.
        user: The name of the operator; empty if there is none.
        read_only: Whether the page offers no change.
    """

    nav: str
    user: str = ""
    read_only: bool = False
    notices: Sequence[Notice] = ()
