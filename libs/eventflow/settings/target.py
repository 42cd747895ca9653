"""The section `[target]` of a flow. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from eventflow.control.overrides import RATE_MAX_PER_S, RATE_MIN_PER_S
from eventflow.http_token import is_token
from eventflow.network.host import check_http_url
from eventflow.settings.fields import Secrets, Section, auto, require_signing_keys, split
from eventflow.settings.value_text import check_expanded

UNITS_MIN = 0.000001

_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding", "trailer", "expect", "upgrade"})
"""With one of these set to a fixed value, the target may receive a cut body or none, and still answer with success."""

_STATUSES = re.compile(r"([2-5])xx|([2-5]\d\d)(?:\s*-\s*([2-5]\d\d))?", re.ASCII | re.IGNORECASE)
_POINTER = re.compile(r"(/([^~/]|~[01])*)+")


def _target_url(value: str) -> str:
    try:
        check_http_url(value)
    except ValueError as error:
        advice = "; set EVENTFLOW_TARGET__HEADERS instead" if "password" in str(error) else ""
        raise ValueError(f"{error}{advice}") from None
    return value


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('a JSON object of strings is expected, such as {"Authorization": "Bearer ..."}') from None


def _headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, secret in value.items():
        _check_header(name, secret.get_secret_value())
    return value


def _check_header(name: str, value: str) -> None:
    check_expanded(value)
    if not is_token(name):
        raise ValueError("header names are made of letters, digits and hyphens")
    if name.lower() in _FRAMING_HEADERS:
        raise ValueError(f"{name} cannot be the same for every event: it decides where a request ends")
    if not (value.strip() and value.isascii() and value.isprintable()):
        raise ValueError("header values are printable ASCII, and not empty")


def _increasing(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("delays that grow are expected, such as 1,5,30,120,600,3600")
    return value


def _texts(value: object) -> object:
    """Accept numbers in a TOML array: `[200, 409]` is the same as `200,409` in a variable."""
    parts = split(value)
    return [str(part) for part in parts] if isinstance(parts, list) else parts


def _statuses(value: tuple[str, ...]) -> tuple[str, ...]:
    success_statuses(value)
    return value


def _pointer(value: str) -> str:
    if not _POINTER.fullmatch(value):
        raise ValueError("a JSON pointer (RFC 6901) is expected, such as /data/id or /errors/0")
    return value


DelayS = Annotated[float, Field(ge=0.001, le=2_000_000)]
Pointers = Annotated[tuple[Annotated[str, AfterValidator(_pointer)], ...], BeforeValidator(split)]


class TargetSettings(Section):
    """Target of a flow: its URL, its rate limit, its success criterion, and retries."""

    url: Annotated[str, AfterValidator(_target_url)] | None = Field(
        None, description="URL to which events are sent with POST; required by the processor"
    )
    rate_per_s: Annotated[float | None, Field(ge=RATE_MIN_PER_S, le=RATE_MAX_PER_S, allow_inf_nan=False)] = Field(
        None, description="quota units per second for all processors together; unset = unlimited"
    )
    burst: float = Field(
        1.0, ge=UNITS_MIN, le=1_000_000, description="bucket size in units, for all processors together"
    )
    cost: float = Field(1.0, ge=UNITS_MIN, le=1_000_000, description="units that one attempt costs")
    timeout_s: float = Field(5.0, gt=0, le=300, description="deadline of one attempt")
    concurrency: Annotated[int | None, Field(ge=1, le=10_000), BeforeValidator(auto)] = Field(
        None,
        description="most attempts in flight in one processor; auto = rate x timeout, or 64 if the rate is unlimited",
    )
    headers: Annotated[dict[str, SecretStr], BeforeValidator(_json_object), AfterValidator(_headers)] = Field(
        {}, description="JSON object of static headers, such as authorization"
    )
    client: Literal["lean", "aiohttp"] = Field(
        "lean",
        description="HTTP client: `lean`, which takes the least CPU time, or `aiohttp`, which is in wider use; "
        "both send the same requests and judge answers by the same rules",
    )
    format: Literal["raw", "cloudevents"] = Field(
        "raw",
        description="`raw`: the body unchanged, with `ce-*` headers; `cloudevents`: a structured CloudEvent that "
        "contains the body",
    )
    signing_secrets: Annotated[Secrets, AfterValidator(require_signing_keys)] = Field(
        (),
        description="Standard Webhooks secrets (`whsec_...`) that sign each request, separated by commas; several = "
        "rotation: one signature of each",
    )
    feedback: Literal["standard", "shopify", "shopify-graphql", "none"] = Field(
        "standard",
        description="part of an answer that adjusts the rate: `standard` (Retry-After, RateLimit, X-RateLimit), "
        "`shopify` (the call limit), `shopify-graphql` (throttleStatus in the body), `none`",
    )
    due_share: float = Field(
        0.5, gt=0, le=1, description="largest share of the attempts for retries while live events wait"
    )
    replay_share: float = Field(
        0.2, gt=0, le=1, description="largest share of the attempts for replays while live events wait"
    )
    max_retry_after_s: float = Field(
        900.0, ge=0, le=86_400, description="longest pause that an answer of the target can impose"
    )
    max_attempts: int = Field(12, ge=1, le=1000, description="counted attempts before the event is dead-lettered")
    retry_delays_s: Annotated[tuple[DelayS, ...], BeforeValidator(split), AfterValidator(_increasing)] = Field(
        (1, 5, 30, 120, 600, 3600),
        min_length=1,
        max_length=32,
        description="delays before the first, second, ... retry; the last one repeats",
    )
    success_status: Annotated[
        tuple[str, ...], BeforeValidator(_texts), AfterValidator(_statuses), Field(min_length=1)
    ] = Field(
        ("200-299",),
        description="statuses that mean that the target has accepted the event, such as `200-299`, `2xx` or `409`",
    )
    success_pointer: Pointers = Field(
        (),
        description="JSON pointers into the body of an answer, which is a success only if each of them has a value "
        "(null, false and empty values do not count)",
    )
    failure_pointer: Pointers = Field(
        (),
        description="JSON pointers into the body of an answer, which is a failure with any status if one of them has a "
        "value",
    )
    user_errors_fail: bool = Field(
        False,
        description="treat an answer with `userErrors` of a mutation as a failure; requires `feedback` "
        "`shopify-graphql`",
    )

    @field_validator("user_errors_fail")
    @classmethod
    def _check_user_errors(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("feedback") not in {"shopify-graphql", None}:
            raise ValueError("it has no effect unless feedback is shopify-graphql")
        return value


def success_statuses(ranges: Sequence[str]) -> frozenset[int]:
    """Return every status that `TargetSettings.success_status` contains.

    Raises:
        ValueError: A part is neither a status nor a range nor a class of statuses.
    """
    statuses: set[int] = set()
    for text in ranges:
        found = _STATUSES.fullmatch(text)
        first, last = (0, -1) if found is None else _bounds_of(found)
        if first > last:
            raise ValueError(
                f"{text!r} is neither a status from 200 to 599, nor a range such as 200-299, nor a class such as 2xx"
            )
        statuses.update(range(first, last + 1))
    return frozenset(statuses)


def _bounds_of(found: re.Match[str]) -> tuple[int, int]:
    if found[1] is not None:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    return int(found[2]), int(found[3] or found[2])
