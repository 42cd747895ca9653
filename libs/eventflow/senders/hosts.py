"""Addresses from which a sender's documents are accepted: https, the usual port, and hosts by pattern. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache

ADDRESS_MAX_CHARACTERS = 1024
LABELS_CERTAIN_MIN = 2
"""Labels at the end of a pattern that are written out, so that a pattern names one owner."""

_ADDRESS = re.compile(
    r"(?i:https)://(?P<host>[A-Za-z0-9.-]+)(?::443)?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[^#\s\\]*)?"
)
"""No user, no other port, no fragment, no backslash: nothing that two parsers could read as different hosts."""

_LABEL = re.compile(r"[a-z0-9*]([a-z0-9*-]{0,61}[a-z0-9*])?")


def is_pinned(address: str, patterns: Sequence[str]) -> bool:
    """Return True if an address is one of https at a host that fits one of the patterns.

    In a pattern, `*` stands for letters and digits between dots or hyphens, as in `sns.eu-*-*.amazonaws.com`. It stands
    for no hyphen and no dot, so that a pattern fits only names with as many parts as it has.
    """
    if len(address) > ADDRESS_MAX_CHARACTERS or not (address.isascii() and address.isprintable()):
        return False
    parts = _ADDRESS.fullmatch(address)
    return parts is not None and any(_host_like(pattern).fullmatch(parts["host"].lower()) for pattern in patterns)


def check_host_pattern(pattern: str) -> None:
    """Check a pattern of hosts.

    Raises:
        ValueError: It is not a name, or it fits hosts of different owners.
    """
    labels = pattern.split(".")
    if len(labels) < LABELS_CERTAIN_MIN or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{pattern!r} is not the name of a host in lower case, such as api.example.com")
    if any("*" in label for label in labels[-LABELS_CERTAIN_MIN:]) or labels[0] == "*":
        raise ValueError(
            f"{pattern!r} fits hosts of different owners: no * is accepted in the last {LABELS_CERTAIN_MIN} labels, "
            "nor alone at the beginning"
        )


@lru_cache
def _host_like(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "[a-z0-9]+"))
