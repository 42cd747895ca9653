"""The section `[target]` of a flow. Pure."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from eventflow.control.overrides import RATE_MAX_PER_S, RATE_MIN_PER_S
from eventflow.json_pointer import is_pointer
from eventflow.network.http_proxy import Proxy, parse_proxy_url
from eventflow.network.tls_files import TlsFiles
from eventflow.settings.egress import (
    checked_headers,
    checked_path,
    checked_target_url,
    checked_url,
    json_object,
)
from eventflow.settings.fields import Secrets, Section, auto, checked_by, require_signing_keys, split
from eventflow.settings.secret_text import check_secret

UNITS_MIN = 0.000001

_STATUSES = re.compile(r"([2-5])xx|([2-5]\d\d)(?:\s*-\s*([2-5]\d\d))?", re.ASCII | re.IGNORECASE)


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
    if not (value and is_pointer(value)):
        raise ValueError("a JSON pointer (RFC 6901) is expected, such as /data/id or /errors/0")
    return value


DelayS = Annotated[float, Field(ge=0.001, le=2_000_000)]
File = Annotated[str, AfterValidator(checked_path)]
Pointers = Annotated[tuple[Annotated[str, AfterValidator(_pointer)], ...], BeforeValidator(split)]


class TargetSettings(Section):
    """Target of a flow: its URL, its rate limit, its success criterion, and retries."""

    url: Annotated[str, AfterValidator(checked_target_url)] | None = Field(
        None,
        description="URL to which events are sent; required by the processor, unless the flow has a handler. Its path "
        "and query may contain `{id}`, `{type}`, `{source}`, `{subject}` and `{flow}`: each event's own value, "
        "percent-encoded",
    )
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="HTTP method of the requests")
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
    headers: Annotated[dict[str, SecretStr], BeforeValidator(json_object), AfterValidator(checked_headers)] = Field(
        {},
        description="JSON object of headers, such as authorization; `{id}`, `{type}`, `{source}`, `{subject}` and "
        "`{flow}` in a value are each event's own, and `{{` is a literal brace",
    )
    proxy: Annotated[SecretStr, checked_by(parse_proxy_url)] | None = Field(
        None,
        description="HTTP proxy for all connections to the target and to `oauth2_token_url`, such as "
        "`http://user:password@proxy:3128`; the variables `HTTP_PROXY` and `HTTPS_PROXY` are never used",
    )
    ca_file: File | None = Field(
        None,
        description="file with the CA certificates (PEM) that the target's certificate must be signed by; unset = "
        "those of the system",
    )
    client_certificate_file: File | None = Field(
        None, description="file with the certificate (PEM) that is shown to the target, and its intermediate ones"
    )
    client_key_file: File | None = Field(
        None,
        description="file with the key (PEM, without a passphrase) of that certificate; unset = the key is in the "
        "file of the certificate",
    )
    oauth2_token_url: Annotated[str, AfterValidator(checked_url)] | None = Field(
        None, description="URL from which access tokens are fetched by the OAuth 2.0 client credentials grant"
    )
    oauth2_client_id: str | None = Field(None, validate_default=True, description="client id for `oauth2_token_url`")
    oauth2_client_secret: Annotated[SecretStr, checked_by(check_secret)] | None = Field(
        None, description="client secret for `oauth2_token_url`"
    )
    oauth2_client_auth: Literal["basic", "body"] = Field(
        "basic",
        description="place of client id and secret in the request for a token: HTTP `basic` authentication, or the "
        "`body`",
    )
    oauth2_scope: str | None = Field(None, description="scope of the tokens; several are separated by spaces")
    oauth2_audience: str | None = Field(None, description="audience of the tokens, for servers that demand it")
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

    @property
    def http_proxy(self) -> Proxy | None:
        """The proxy, with its password; None if there is none."""
        return None if self.proxy is None else parse_proxy_url(self.proxy.get_secret_value())

    @property
    def tls_files(self) -> TlsFiles:
        """The files for TLS with the target."""
        return TlsFiles(
            ca_file=self.ca_file, certificate_file=self.client_certificate_file, key_file=self.client_key_file
        )

    @field_validator("client_key_file")
    @classmethod
    def _check_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("client_certificate_file", "") is None:
            raise ValueError("it has no effect, because client_certificate_file is not set")
        return value

    @field_validator("oauth2_client_id", "oauth2_client_secret", "oauth2_scope", "oauth2_audience")
    @classmethod
    def _check_oauth2(cls, value: object, info: ValidationInfo) -> object:
        token_url = info.data.get("oauth2_token_url", "")  # no key: it is itself wrong
        if value is not None and token_url is None:
            raise ValueError("it has no effect, because oauth2_token_url is not set")
        if not value and token_url and info.field_name == "oauth2_client_id":
            raise ValueError("a client id is expected, because oauth2_token_url is set")
        if any(name.lower() == "authorization" for name in info.data.get("headers", {})) and token_url:
            raise ValueError("a token would replace the header Authorization: remove it from headers")
        return value

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
