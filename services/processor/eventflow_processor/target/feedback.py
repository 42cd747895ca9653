"""Rate information in a target's answer. Pure.

standard         Retry-After (RFC 9110, section 10.2.3), RateLimit and RateLimit-Policy
                 (draft-ietf-httpapi-ratelimit-headers), their earlier forms, X-RateLimit-* and X-Rate-Limit-*
shopify          Retry-After, X-Shopify-Shop-Api-Call-Limit: 32/40
shopify-graphql  Retry-After, and extensions.cost.throttleStatus in the body
none             nothing

In every header, a time can be seconds from now, seconds (or parts of them) since 1970, an HTTP date or an ISO 8601
date. No header makes a reader fail; one that cannot be read counts as absent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

import http_sf

Mode: TypeAlias = Literal["standard", "shopify", "shopify-graphql", "none"]

_EPOCH_FROM_S = 1_000_000_000
"""Some targets write seconds from now, others seconds since 1970. No target means a time 30 years from now."""

_EPOCH_TO_S = 100_000_000_000
"""A number from here on (the year 5138) is milliseconds since 1970, or smaller parts of a second."""

_THROTTLE_WORDS = frozenset(
    {"THROTTLED", "RATE_LIMITED", "RATELIMITED", "RATE_LIMIT", "RATE_LIMIT_EXCEEDED", "TOO_MANY_REQUESTS"}
)
"""Names of GraphQL servers for a refusal by the quota. MAX_COST_EXCEEDED is none, because waiting does not help."""

_SEPARATE = tuple(
    (f"{prefix}-remaining", f"{prefix}-reset-after", f"{prefix}-reset")
    for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit")
)
"""Names of headers with one number each."""

NAMES = frozenset({"retry-after", "x-shopify-shop-api-call-limit", "ratelimit", "ratelimit-policy"}.union(*_SEPARATE))
"""Names of all headers that are read."""

_DECIMAL = re.compile(r"\s*\d{1,19}(\.\d{1,9})?\s*", re.ASCII)
_ISO_DATE = re.compile(r"\s*(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d\S*)\s*", re.ASCII)
_CALL_LIMIT = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Rate information in an answer; an attribute that the answer does not have is None.

    Attributes:
        retry_after_s: Pause that the target asks for.
        room: Units that it would accept at once now.
        refilled_after_s: Time after which it has room again at the latest.
        rate_per_s: Units per second that it allows.
    """

    retry_after_s: float | None = None
    room: float | None = None
    refilled_after_s: float | None = None
    rate_per_s: float | None = None


NOTHING = Feedback()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackReader:
    """Reads the answers of a target; `cost` converts their numbers of requests into units."""

    mode: Mode
    cost: float = 1.0

    @property
    def reads_bodies(self) -> bool:
        """Whether the body of an answer is read as well as its headers."""
        return self.mode == "shopify-graphql"

    def of_headers(self, headers: Mapping[str, str], *, now: datetime) -> Feedback:
        """Read the head of an answer; headers that cannot be read count as absent.

        Args:
            headers: Their names are in lower case.
        """
        if self.mode == "none" or NAMES.isdisjoint(headers):  # true of most answers
            return NOTHING
        retry_after_s = seconds_until(headers.get("retry-after"), now=now)
        windows = list(self._windows(headers, now))
        if not windows:
            return NOTHING if retry_after_s is None else Feedback(retry_after_s=retry_after_s)
        tightest = min(windows, key=lambda window: window.remaining)
        return Feedback(
            retry_after_s=retry_after_s, room=tightest.remaining * self.cost, refilled_after_s=tightest.reset_s
        )

    def of_document(self, document: object, *, head: Feedback) -> tuple[Feedback, bool]:
        """Read the body of a GraphQL answer; return also whether it is a refusal, which has the status 200."""
        if not self.reads_bodies:
            return head, False
        cost = _at(document, "extensions", "cost")
        status = _at(cost, "throttleStatus")
        room, rate_per_s = _number(_at(status, "currentlyAvailable")), _number(_at(status, "restoreRate"))
        errors = _at(document, "errors")
        is_refused = any(_is_throttled(error) for error in (errors if isinstance(errors, list) else [errors]))
        feedback = replace(head, room=room, rate_per_s=rate_per_s or None)
        requested = _number(_at(cost, "requestedQueryCost"))
        if is_refused and feedback.retry_after_s is None and rate_per_s and requested is not None:
            feedback = replace(feedback, retry_after_s=max(0.0, requested - (room or 0.0)) / rate_per_s)
        return feedback, is_refused

    def _windows(self, headers: Mapping[str, str], now: datetime) -> Iterator["_Window"]:
        if self.mode == "shopify":
            yield from _call_limit(headers.get("x-shopify-shop-api-call-limit"))
        elif self.mode == "standard":
            if (rate_limit := headers.get("ratelimit")) is not None:
                yield from _draft(rate_limit, headers.get("ratelimit-policy"), now)
            for remaining_name, *reset_names in _SEPARATE:
                if (remaining := headers.get(remaining_name)) is not None:
                    reset = next(filter(None, map(headers.get, reset_names)), None)
                    yield from _separate(remaining, reset, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Requests that remain, and the time until the target starts its count again."""

    remaining: float
    reset_s: float | None


def seconds_until(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds from now until the time in a header, in any known form; None for any other text."""
    if text is None:
        return None
    number = _decimal(text)  # whole seconds by the standard, 2.0 with Shopify, fractions with Discord
    if number is not None:
        return _from_now(number, now)
    moment = _http_date(text) or _iso_date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _from_now(time_s: float, now: datetime) -> float:
    """Return the seconds from now until a time that is written as a number."""
    if time_s < _EPOCH_FROM_S:
        return time_s
    while time_s >= _EPOCH_TO_S:
        time_s /= 1000
    return max(0.0, time_s - now.timestamp())


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for an offset or a year beyond all bounds
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _iso_date(text: str) -> datetime | None:
    if (written := _ISO_DATE.fullmatch(text)) is None:
        return None
    try:
        moment = datetime.fromisoformat(written[1].upper())
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _call_limit(text: str | None) -> Iterator[_Window]:
    if text is not None and (found := _CALL_LIMIT.fullmatch(text)):
        yield _Window(remaining=max(0.0, float(found[2]) - float(found[1])), reset_s=None)


def _draft(rate_limit: str, policy: str | None, now: datetime) -> Iterator[_Window]:
    """Read `"default";r=50;t=30`, or the earlier `limit=100, remaining=50, reset=30`."""
    policies = dict(_items(policy))
    for name, parameters in _items(rate_limit):
        if policies.get(name, {}).get("qu", "requests") != "requests":
            continue
        if (remaining := _number(parameters.get("r"))) is not None:
            reset_s = _number(parameters.get("t"))
            if reset_s is None:
                reset_s = _number(policies.get(name, {}).get("w"))
            yield _Window(remaining=remaining, reset_s=None if reset_s is None else _from_now(reset_s, now))
    members = _structured(rate_limit, "dictionary")
    if isinstance(members, dict) and (remaining := _member(members, "remaining")) is not None:
        reset_s = _member(members, "reset")
        yield _Window(remaining=remaining, reset_s=None if reset_s is None else _from_now(reset_s, now))


def _separate(remaining: str, reset: str | None, now: datetime) -> Iterator[_Window]:
    left = _decimal(remaining.strip().removeprefix("-"))
    if left is not None:
        is_negative = remaining.strip().startswith("-")  # more requests were made than the target allows
        yield _Window(remaining=0.0 if is_negative else left, reset_s=seconds_until(reset, now=now))


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


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and 0 <= value < 1e15 else None


def _at(document: object, *path: str) -> object:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _is_throttled(error: object) -> bool:
    """Whether an error is a refusal by the quota: by its extensions (Shopify, Linear), type (GitHub) or message."""
    places = (("extensions", "code"), ("extensions", "type"), ("type",), ("code",), ("message",))
    words = (error, *(_at(error, *place) for place in places))
    return any(isinstance(word, str) and _as_constant(word) in _THROTTLE_WORDS for word in words)


def _as_constant(word: str) -> str:
    return word.strip().rstrip(".").upper().replace(" ", "_").replace("-", "_")
