"""One result of `eventflow check`. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was checked, the state it is in, and advice if something should be done."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""
