"""The rights that a role needs for inbox and outbox. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final


class Use(StrEnum):
    """The program that uses a database."""

    HANDLER = "handler"
    RELAY = "relay"


NEEDED: Final[Mapping[Use, Sequence[tuple[str, str]]]] = {
    Use.HANDLER: (("INSERT", "inbox"), ("SELECT", "inbox"), ("DELETE", "inbox"), ("INSERT", "outbox")),
    Use.RELAY: (("SELECT", "outbox"), ("UPDATE", "outbox"), ("DELETE", "outbox")),
}
"""Rights on the tables; each role also reads `database_versions`."""
