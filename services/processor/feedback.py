"""What a target's answer says about its quota. Pure.

standard         Retry-After (RFC 9110, section 10.2.3), RateLimit and RateLimit-Policy
                 (draft-ietf-httpapi-ratelimit-headers), their earlier forms, and X-RateLimit-*
shopify          Retry-After, X-Shopify-Shop-Api-Call-Limit: 32/40
shopify-graphql  Retry-After, and extensions.cost.throttleStatus in the body
none             nothing
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

import http_sf

Mode: TypeAlias = Literal["standard", "shopify", "shopify-graphql", "none"]

_EPOCH_FROM_S = 1_000_000_000
"""`X-RateLimit-Reset` is seconds from now with some, and since 1970 with others; never 30 years from now."""

_DECIMAL = re.compile(r"\s*\d{1,15}(\.\d{1,9})?\s*", re.ASCII)
_CALL_LIMIT = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What an answer says about the quota; None where it says nothing.

    Attributes:
        retry_after_s: How long the target wants to be left alone.
        room: Units that it would take at once now.
        refilled_after_s: When it has room again at the latest.
        rate_per_s: Units per second that it says it allows.
    """

    retry_after_s: float | None = None
    room: float | None = None
    refilled_after_s: float | None = None
    rate_per_s: float | None = None


NOTHING = Feedback()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackReader:
    """Reads the answers of a target; `cost` is what one attempt costs, for what they say in requests."""

    mode: Mode
    cost: float = 1.0

    @property
    def reads_bodies(self) -> bool:
        """Whether the body of an answer says something as well."""
        return self.mode == "shopify-graphql"

    def of_headers(self, headers: Mapping[str, str], *, now: datetime) -> Feedback:
        """Read the head of an answer; what makes no sense is taken for nothing."""
        if self.mode == "none":
            return NOTHING
        retry_after_s = parse_retry_after(headers.get("Retry-After"), now=now)
        windows = list(self._windows(headers, now))
        if not windows:
            return NOTHING if retry_after_s is None else Feedback(retry_after_s=retry_after_s)
        tightest = min(windows, key=lambda window: window.remaining)
        return Feedback(
            retry_after_s=retry_after_s, room=tightest.remaining * self.cost, refilled_after_s=tightest.reset_s
        )

    def of_body(self, body: bytes, *, head: Feedback) -> tuple[Feedback, bool]:
        """Read the body of a GraphQL answer; return also whether it is a refusal, which comes with the status 200."""
        document = _parsed(body)
        cost = _at(document, "extensions", "cost")
        status = _at(cost, "throttleStatus")
        room, rate_per_s = _number(_at(status, "currentlyAvailable")), _number(_at(status, "restoreRate"))
        errors = _at(document, "errors")
        is_refused = isinstance(errors, list) and any(_is_throttled(error) for error in errors)
        feedback = replace(head, room=room, rate_per_s=rate_per_s or None)
        requested = _number(_at(cost, "requestedQueryCost"))
        if is_refused and feedback.retry_after_s is None and rate_per_s and requested is not None:
            feedback = replace(feedback, retry_after_s=max(0.0, requested - (room or 0.0)) / rate_per_s)
        return feedback, is_refused

    def _windows(self, headers: Mapping[str, str], now: datetime) -> Iterator["_Window"]:
        if self.mode == "shopify":
            yield from _call_limit(headers.get("X-Shopify-Shop-Api-Call-Limit"))
        elif self.mode == "standard":
            if (rate_limit := headers.get("RateLimit")) is not None:
                yield from _draft(rate_limit, headers.get("RateLimit-Policy"))
            for prefix in ("RateLimit", "X-RateLimit"):
                if (remaining := headers.get(f"{prefix}-Remaining")) is not None:
                    yield from _separate(remaining, headers.get(f"{prefix}-Reset"), now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """So many requests remain, until the count starts anew."""

    remaining: float
    reset_s: float | None


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for; None for what is none."""
    if text is None:
        return None
    if (seconds := _decimal(text)) is not None:  # whole ones by the standard, and 2.0 by Shopify
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _call_limit(text: str | None) -> Iterator[_Window]:
    if text is not None and (found := _CALL_LIMIT.fullmatch(text)):
        yield _Window(remaining=max(0.0, float(found[2]) - float(found[1])), reset_s=None)


def _draft(rate_limit: str, policy: str | None) -> Iterator[_Window]:
    """Read `"default";r=50;t=30`, or the earlier `limit=100, remaining=50, reset=30`."""
    policies = dict(_items(policy))
    for name, parameters in _items(rate_limit):
        if policies.get(name, {}).get("qu", "requests") != "requests":
            continue
        if (remaining := _number(parameters.get("r"))) is not None:
            reset_s = _number(parameters.get("t"))
            yield _Window(
                remaining=remaining, reset_s=_number(policies.get(name, {}).get("w")) if reset_s is None else reset_s
            )
    members = _structured(rate_limit, "dictionary")
    if isinstance(members, dict) and (remaining := _member(members, "remaining")) is not None:
        yield _Window(remaining=remaining, reset_s=_member(members, "reset"))


def _separate(remaining: str, reset: str | None, now: datetime) -> Iterator[_Window]:
    left, reset_s = _digits(remaining), _digits(reset or "")
    if reset_s is not None and reset_s >= _EPOCH_FROM_S:
        reset_s = max(0.0, reset_s - now.timestamp())
    if left is not None:
        yield _Window(remaining=left, reset_s=reset_s)


def _items(text: str | None) -> Iterator[tuple[object, dict[str, Any]]]:
    items = _structured(text, "list") if text is not None else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, tuple) and isinstance(item[1], dict) and not isinstance(item[0], list):
            yield item[0], item[1]


def _structured(text: str, kind: str) -> object:
    try:
        return http_sf.parse(text.encode(), tltype=kind)
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        return None


def _member(members: dict[str, Any], name: str) -> float | None:
    member = members.get(name)
    return _number(member[0]) if isinstance(member, tuple) else None


def _decimal(text: str) -> float | None:
    return float(text) if _DECIMAL.fullmatch(text) else None


def _digits(text: str) -> float | None:
    stripped = text.strip()
    return float(stripped) if stripped.isascii() and stripped.isdecimal() and len(stripped) <= 15 else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and 0 <= value < 1e15 else None


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _at(document: object, *path: str) -> object:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _is_throttled(error: object) -> bool:
    return _at(error, "extensions", "code") == "THROTTLED" or _at(error, "message") == "Throttled"
