"""Settings: a TOML file overridden by environment variables, parsed once into frozen models.

Each variable is `EVENTFLOW_{SECTION}__{FIELD}`; with `_FILE` behind its name it names a file that holds the value.
`[source]` and `[target]` are the flow `default`; `[flows.NAME.source]` and `[flows.NAME.target]` add more.
docs/configuration.md is generated from these models.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from eventflow.control.overrides import RATE_MAX_PER_S, RATE_MIN_PER_S
from eventflow.errors import SettingsError
from eventflow.network.broker_url import has_userinfo, parse_broker_url, with_credentials
from eventflow.network.host import PORT_MAX, check_host, check_http_url, shown_http_url
from eventflow.settings.addresses import COLLECTOR_ADMIN_PORT, DEFAULT_HOST, PROCESSOR_ADMIN_PORT
from eventflow.settings.environment import ENV_PREFIX, capitalized, config_file, from_environment, from_toml, read_files
from eventflow.settings.secret_text import check_api_key, check_secret, keys_in, secrets_in, urls_in
from eventflow.settings.value_text import check_expanded, check_literal, check_path
from eventflow.signing import signing_key
from eventflow.topology import DEFAULT_FLOW, FLOW_NAME

BROKER_PREFIX = f"{ENV_PREFIX}BROKER__"
DEFAULT_BROKER = "amqp://127.0.0.1:5672/"
MIB = 1024 * 1024
SIGNING_KEY_MIN_BYTES = 16
"""Standard Webhooks asks for 24 to 64. What decodes to less is a word that happens to be base64, such as `v1`."""

UNITS_MIN = 0.000001
SHOWN_MAX_CHARACTERS = 200
LINE_MAX_CHARACTERS = 800

_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding", "trailer", "expect", "upgrade"})
"""With one of these, bodies reach the target cut off or not at all, and its answer is a success all the same."""

_STATUSES = re.compile(r"([2-5])xx|([2-5]\d\d)(?:\s*-\s*([2-5]\d\d))?", re.ASCII | re.IGNORECASE)
_POINTER = re.compile(r"(/([^~/]|~[01])*)+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _auto(value: object) -> object:
    return None if isinstance(value, str) and value in {"auto", ""} else value


def _path(value: object) -> object:
    if not isinstance(value, str):
        return value
    path = value.strip()
    if not path:
        return None
    check_path(path)
    return path


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('a JSON object of strings is expected, such as {"Authorization": "Bearer ..."}') from None


def _checked_by(check: Callable[[str], object]) -> AfterValidator:
    def checked(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(checked)


def _not_empty(value: str) -> None:
    if not value or not value.isprintable():
        raise ValueError("one line of text is expected; leave the name out where there is none")


def _name(value: str) -> str:
    _not_empty(value)
    return value


def _target_url(value: str) -> str:
    try:
        check_http_url(value)
    except ValueError as error:
        advice = "; set EVENTFLOW_TARGET__HEADERS instead" if "password" in str(error) else ""
        raise ValueError(f"{error}{advice}") from None
    return value


def _management_url(value: SecretStr) -> SecretStr:
    text, expected = value.get_secret_value(), "http://host:port of RabbitMQ's management API is expected"
    try:
        check_http_url(text, takes_userinfo=True)
    except ValueError as error:
        raise ValueError(f"{error}; {expected}") from None
    if "?" in text or "#" in text:
        raise ValueError(f"{expected}, without a query")
    return value


def _listening_host(value: str) -> str:
    host = value.removeprefix("[").removesuffix("]") if ":" in value else value
    try:
        check_host(host)
    except ValueError as error:
        raise ValueError(f"{error}; 0.0.0.0 is every address of IPv4, :: of IPv6 and IPv4") from None
    return host


def _is_token(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _header(name: str, value: str) -> None:
    check_expanded(value)
    if not _is_token(name):
        raise ValueError("header names are made of letters, digits and hyphens")
    if name.lower() in _FRAMING_HEADERS:
        raise ValueError(f"{name} is none that can be the same for every event: it decides where a request ends")
    if not (value.strip() and value.isascii() and value.isprintable()):
        raise ValueError("header values are printable ASCII, and not empty")


def _headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, secret in value.items():
        _header(name, secret.get_secret_value())
    return value


def _texts(value: object) -> object:
    """Take numbers in a TOML array for the texts that a variable would have."""
    split = _split(value)
    return [str(part) for part in split] if isinstance(split, list) else split


def _statuses(value: tuple[str, ...]) -> tuple[str, ...]:
    success_statuses(value)
    return value


def _pointer(value: str) -> str:
    if not _POINTER.fullmatch(value):
        raise ValueError("a JSON pointer (RFC 6901) is expected, such as /data/id or /errors/0")
    return value


def _increasing(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("delays that grow are expected, such as 1,5,30,120,600,3600")
    return value


def _token(value: str) -> str:
    if value and not _is_token(value):
        raise ValueError("a header's name is expected: letters, digits and hyphens")
    return value


def _signing_secrets(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in value:
        if len(signing_key(secret.get_secret_value())) < SIGNING_KEY_MIN_BYTES:
            raise ValueError(f"base64 of at least {SIGNING_KEY_MIN_BYTES} bytes is expected, usually behind whsec_")
    return value


Secrets = Annotated[tuple[Annotated[SecretStr, _checked_by(check_secret)], ...], BeforeValidator(secrets_in)]
ApiKeys = Annotated[tuple[Annotated[SecretStr, _checked_by(check_api_key)], ...], BeforeValidator(keys_in)]
ListeningHost = Annotated[str, AfterValidator(_listening_host)]
Port = Annotated[int, Field(ge=0, le=PORT_MAX)]
DelayS = Annotated[float, Field(ge=0.001, le=2_000_000)]


def is_secret(field: FieldInfo) -> bool:
    """Whether the value of a setting must never be shown."""
    return "SecretStr" in repr(field.annotation) or "SecretStr" in repr(field.metadata)


class Section(BaseModel):
    """A part of the settings: frozen, and a name that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_as_written(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str) or info.field_name is None:
            return value
        check_literal(value)
        return value if is_secret(cls.model_fields[info.field_name]) else value.strip()


class BrokerSettings(Section):
    """RabbitMQ, the only store."""

    url: Annotated[
        tuple[Annotated[SecretStr, _checked_by(check_literal), _checked_by(parse_broker_url)], ...],
        BeforeValidator(urls_in),
        Field(
            description="one URL or several, comma-separated (a cluster); `amqps://` for TLS, with `?cacertfile=...` "
            "for an authority of your own"
        ),
    ] = (SecretStr("amqp://guest:guest@127.0.0.1:5672/"),)
    username: Annotated[str, AfterValidator(_name)] | None = Field(
        None, description="user for every URL that names none; needs `PASSWORD`"
    )
    password: Annotated[SecretStr, _checked_by(_not_empty)] | None = Field(
        None, description="password of that user, as it is: not percent-encoded"
    )
    management_url: Annotated[SecretStr, AfterValidator(_management_url)] | None = Field(
        None,
        description="RabbitMQ's management API, `http://host:15672`, where policies are read; user and password are "
        "those of the first broker URL unless it has its own; unset = policies are not looked at",
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("EVENTFLOW_BROKER__USERNAME and EVENTFLOW_BROKER__PASSWORD must both be set, or neither")
        if self.username is not None and "url" in self.model_fields_set and all(map(has_userinfo, self._urls)):
            raise ValueError(
                "EVENTFLOW_BROKER__USERNAME and EVENTFLOW_BROKER__PASSWORD apply to no URL of EVENTFLOW_BROKER__URL, "
                "since each names a user: take the users out of it, or leave these unset"
            )
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs with their passwords: for connecting, never for showing."""
        if self.username is None or self.password is None:
            return self._urls
        password = self.password.get_secret_value()
        return tuple(
            url if has_userinfo(url) else with_credentials(url, username=self.username, password=password)
            for url in self._urls
        )

    @property
    def _urls(self) -> tuple[str, ...]:
        if self.username is not None and "url" not in self.model_fields_set:
            return (DEFAULT_BROKER,)  # without its user
        return tuple(url.get_secret_value() for url in self.url)


class CollectorSettings(Section):
    """The service that takes events in."""

    host: ListeningHost = Field(
        DEFAULT_HOST, description="where events come in: a name or an address; `::` takes IPv4 too"
    )
    port: Port = Field(8080, description="where events come in; 0 takes a free port")
    admin_host: ListeningHost = Field(DEFAULT_HOST, description="address of /livez /readyz /metrics")
    admin_port: Port = Field(COLLECTOR_ADMIN_PORT, description="port of /livez /readyz /metrics; 0 takes a free port")
    workers: int = Field(1, ge=1, le=64, description="worker processes behind the one bound socket")
    confirm_timeout_s: float = Field(
        2.0,
        gt=0,
        le=60,
        description="how long a confirm may take; then the event is spooled, or answered 503 where there is no spool",
    )
    body_timeout_s: float = Field(
        10.0, gt=0, le=300, description="how long a request may take to send its body; then 408"
    )
    max_in_flight_bytes: int = Field(
        64 * MIB,
        ge=1024,
        description="memory of all open requests and unresolved publishes: 4 KiB for each event, and its body about "
        "twice; above it 503",
    )
    spool_dir: Annotated[Path | None, BeforeValidator(_path)] = Field(
        None,
        description="absolute path of the durable local buffer for events that the broker cannot confirm, made 0700; "
        "unset = none, and they are answered 503",
    )
    spool_max_bytes: int = Field(
        1024 * MIB,
        ge=64 * 1024,
        description="bytes in that directory, of all workers together, beside a journal of a few MiB for each; "
        "above it 503, as when less than 5 % of the disk (at most 64 MiB) is free",
    )
    drain_timeout_s: float = Field(10.0, gt=0, le=300, description="how long SIGTERM waits for requests in flight")
    keep_alive_s: float = Field(
        75.0,
        gt=0,
        le=86_400,
        description="how long an idle connection is kept open; set it above the idle timeout of a load balancer in "
        "front, which otherwise sends a request on a connection that is just being closed",
    )
    max_connections: Annotated[int | None, Field(ge=1, le=1_000_000), BeforeValidator(_auto)] = Field(
        None,
        description="open connections of each worker, never more than the limit of open files allows; beyond it the "
        "longest idle are closed, and new ones are answered 503 if none is idle; auto = that limit, at most 10000",
    )


class SourceSettings(Section):
    """Who may send events of a flow, how they prove it, and how large."""

    api_keys: ApiKeys = Field(
        (), description="accepted values of the header `X-Api-Key`, comma-separated; several = rotation"
    )
    verify: Literal["github", "shopify", "stripe", "standard-webhooks", "hmac", "none"] = Field(
        "none", description="whose signature each request must carry, beside a key where there are keys"
    )
    secrets: Secrets = Field(
        (),
        validate_default=True,
        description="signing secrets that `verify` checks against, comma-separated, current first; several = rotation",
    )
    hmac_header: Annotated[str, AfterValidator(_token)] = Field(
        "", validate_default=True, description="header of the signature when `verify` is `hmac`"
    )
    hmac_algorithm: Literal["sha256", "sha512", "sha1"] = Field("sha256", description="hash when `verify` is `hmac`")
    hmac_encoding: Literal["hex", "base64"] = Field(
        "hex", description="how the signature is written when `verify` is `hmac`; hex in lower case"
    )
    hmac_prefix: str = Field("", description="what stands before the signature when `verify` is `hmac`")
    tolerance_s: float = Field(
        300.0, gt=0, le=86_400, description="how far a signed timestamp may be from now; beyond it 401"
    )
    max_body_bytes: int = Field(MIB, ge=1, le=128 * MIB, description="a larger body is answered 413")
    max_batch_events: int = Field(1000, ge=1, le=10_000, description="a batch of more events is answered 413")
    max_batch_bytes: int = Field(
        4 * MIB, ge=1, le=128 * MIB, description="a larger batch is answered 413, as is one with an event too large"
    )
    allow_unauthenticated: bool = Field(
        False, description="accept events without keys and signatures, from every sender that reaches the collector"
    )

    @property
    def lacks_authentication(self) -> bool:
        """Whether every sender would be accepted, although no setting allows that."""
        return not (self.api_keys or self.verify != "none" or self.allow_unauthenticated)

    @field_validator("secrets")
    @classmethod
    def _check_secrets(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        verify = info.data.get("verify")
        if value and verify == "none":
            raise ValueError("they verify nothing while verify is none")
        if not value and verify not in {"none", None}:
            raise ValueError(f"at least one is expected, since verify is {verify}")
        return _signing_secrets(value) if verify == "standard-webhooks" else value

    @field_validator("hmac_header")
    @classmethod
    def _check_hmac_header(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("verify") == "hmac":
            raise ValueError("the name of the signature's header is expected, since verify is hmac")
        return value


class TargetSettings(Section):
    """Where events of a flow go, and how fast."""

    url: Annotated[str, AfterValidator(_target_url)] | None = Field(
        None, description="where events go by POST; required by the processor"
    )
    rate_per_s: Annotated[float | None, Field(ge=RATE_MIN_PER_S, le=RATE_MAX_PER_S, allow_inf_nan=False)] = Field(
        None, description="quota units per second for all processors together; unset = unlimited"
    )
    burst: float = Field(
        1.0, ge=UNITS_MIN, le=1_000_000, description="bucket size in units, for all processors together"
    )
    cost: float = Field(1.0, ge=UNITS_MIN, le=1_000_000, description="units that one attempt costs")
    timeout_s: float = Field(5.0, gt=0, le=300, description="one attempt's deadline")
    concurrency: Annotated[int | None, Field(ge=1, le=10_000), BeforeValidator(_auto)] = Field(
        None,
        description="attempts in flight in one processor; auto = what rate x timeout needs, 64 when unlimited",
    )
    headers: Annotated[dict[str, SecretStr], BeforeValidator(_json_object), AfterValidator(_headers)] = Field(
        {}, description="JSON object of static headers, such as authorization"
    )
    format: Literal["raw", "cloudevents"] = Field(
        "raw",
        description="`raw`: the body as it came and `ce-*` headers; `cloudevents`: a structured CloudEvent around it",
    )
    signing_secrets: Annotated[Secrets, AfterValidator(_signing_secrets)] = Field(
        (),
        description="Standard Webhooks secrets (`whsec_...`) that sign what is sent, comma-separated; "
        "several = rotation: a signature of each",
    )
    feedback: Literal["standard", "shopify", "shopify-graphql", "none"] = Field(
        "standard",
        description="which answers steer the rate: `standard` (Retry-After, RateLimit, X-RateLimit), `shopify` (the "
        "call limit), `shopify-graphql` (throttleStatus in the body), `none`",
    )
    due_share: float = Field(
        0.5, gt=0, le=1, description="largest part of the attempts that retries get while live events wait"
    )
    replay_share: float = Field(
        0.2, gt=0, le=1, description="largest part of the attempts that replays get while live events wait"
    )
    max_retry_after_s: float = Field(
        900.0, ge=0, le=86_400, description="longest pause that a target's answer can impose"
    )
    max_attempts: int = Field(12, ge=1, le=1000, description="counted attempts before the event is dead-lettered")
    retry_delays_s: Annotated[tuple[DelayS, ...], BeforeValidator(_split), AfterValidator(_increasing)] = Field(
        (1, 5, 30, 120, 600, 3600),
        min_length=1,
        max_length=32,
        description="delays before a retry; the last repeats",
    )
    success_status: Annotated[
        tuple[str, ...], BeforeValidator(_texts), AfterValidator(_statuses), Field(min_length=1)
    ] = Field(
        ("200-299",),
        description="statuses of an answer that say that the target has taken the event: `200-299`, `2xx`, `409`",
    )
    success_pointer: Annotated[tuple[Annotated[str, AfterValidator(_pointer)], ...], BeforeValidator(_split)] = Field(
        (),
        description="JSON pointers into the answer's body: it is a success only with a value at each "
        "(null, false and empty ones are none)",
    )
    failure_pointer: Annotated[tuple[Annotated[str, AfterValidator(_pointer)], ...], BeforeValidator(_split)] = Field(
        (),
        description="JSON pointers into the answer's body: a value at any of them makes it a failure, whatever its "
        "status",
    )
    user_errors_fail: bool = Field(
        False,
        description="with `feedback` `shopify-graphql`: `userErrors` of a mutation in the answer make it a failure",
    )

    @field_validator("user_errors_fail")
    @classmethod
    def _check_user_errors(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("feedback") not in {"shopify-graphql", None}:
            raise ValueError("it means nothing unless feedback is shopify-graphql")
        return value


class ProcessorSettings(Section):
    """The service that hands events to the target."""

    admin_host: ListeningHost = Field(DEFAULT_HOST, description="address of /livez /readyz /metrics")
    admin_port: Port = Field(PROCESSOR_ADMIN_PORT, description="port of /livez /readyz /metrics; 0 takes a free port")
    prefetch: Annotated[int | None, Field(ge=1, le=2000), BeforeValidator(_auto)] = Field(
        None,
        description="unacked live deliveries held; auto = what rate x timeout needs, "
        "at least 2, at most min(2000, 64 MiB / MAX_BODY_BYTES)",
    )
    flows: Annotated[tuple[str, ...] | None, Field(min_length=1), BeforeValidator(_split)] = Field(
        None, description="flows this processor serves, comma-separated; unset = all"
    )
    drain_timeout_s: float = Field(10.0, gt=0, le=300, description="how long SIGTERM waits for attempts in flight")


class TelemetrySettings(Section):
    """What the services say about themselves."""

    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")


class FlowSettings(Section):
    """One flow: its source, its target."""

    source: SourceSettings = SourceSettings()
    target: TargetSettings = TargetSettings()


class Role(StrEnum):
    """The programs, of which each needs and checks only the settings that it uses."""

    COLLECTOR = "collector"
    PROCESSOR = "processor"
    OPERATOR = "operator"
    """The command `eventflow`."""


class EnvironmentSource(PydanticBaseSettingsSource):
    """`EVENTFLOW_A__B=text` as `{"a": {"b": "text"}}`; `EVENTFLOW_A__B_FILE=path` as the file's content."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's port
        """Not used: the whole environment is read at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the nested values that the role uses.

        Raises:
            SettingsError: A file that a variable names cannot be read, or a value is given twice.
        """
        role = getattr(self.settings_cls, "role", None)
        return read_files(_used_by(role, from_environment(os.environ)))


class TomlSource(EnvironmentSource):
    """The TOML file."""

    def __call__(self) -> dict[str, Any]:
        """Return the nested values that the role uses.

        Raises:
            SettingsError: The file cannot be read, or is not TOML.
        """
        config = getattr(self.settings_cls, "config", None)
        return {} if config is None else _used_by(getattr(self.settings_cls, "role", None), from_toml(config))


def _used_by(role: Role | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out settings that a role does not use. A name that is none stays: it is an error in every role."""
    used: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, dict) or name not in _SECTIONS:
            used[name] = value
        elif name == "flows":
            used[name] = {
                flow: _used_by(role, part) if isinstance(part, dict) else part for flow, part in value.items()
            }
        else:
            fields = _SECTIONS[name].model_fields
            used[name] = {key: part for key, part in value.items() if key not in fields or is_used(role, name, key)}
    return used


def is_used(role: Role | None, section: str, field: str) -> bool:
    """Whether a role uses a setting, and so checks it; None is all of them together."""
    match role, section:
        case (Role.COLLECTOR, "processor" | "target") | (Role.PROCESSOR, "collector"):
            return False
        case (Role.PROCESSOR | Role.OPERATOR, "source"):
            return field == "max_body_bytes"
        case (Role.OPERATOR, "target"):
            return not is_secret(TargetSettings.model_fields[field])
    return True


class Settings(BaseSettings):
    """All settings of both services."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    config: ClassVar[Path | None] = None
    role: ClassVar[Role | None] = None

    broker: BrokerSettings = BrokerSettings()
    collector: CollectorSettings = CollectorSettings()
    processor: ProcessorSettings = ProcessorSettings()
    source: SourceSettings | None = None
    target: TargetSettings | None = None
    flows: dict[str, FlowSettings] = {}
    telemetry: TelemetrySettings = TelemetrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's port
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the TOML file."""
        return EnvironmentSource(settings_cls), TomlSource(settings_cls)

    @model_validator(mode="after")
    def _check_flows(self) -> Self:
        for name in self.flows:
            if not FLOW_NAME.fullmatch(name) or name == DEFAULT_FLOW:
                raise ValueError(
                    f"flows.{name}: a flow's name is a-z, 0-9, _ and -, at most 63 characters, "
                    f"and {DEFAULT_FLOW!r} is configured by [source] and [target]"
                )
        for name in self.processor.flows or ():
            if name not in self.all_flows:
                raise ValueError(f"processor.flows names {name!r}, which is none of: {', '.join(self.all_flows)}")
        return self

    @property
    def all_flows(self) -> dict[str, FlowSettings]:
        """Every configured flow by name; `default` too, unless only other flows are configured."""
        if self.flows and self.source is None and self.target is None:
            return dict(self.flows)
        default = FlowSettings(source=self.source or SourceSettings(), target=self.target or TargetSettings())
        return {DEFAULT_FLOW: default, **self.flows}

    @property
    def served_flows(self) -> dict[str, FlowSettings]:
        """The flows that this processor serves."""
        wanted = self.processor.flows
        return {name: flow for name, flow in self.all_flows.items() if wanted is None or name in wanted}


def load(config: Path | None = None, role: Role | None = None) -> Settings:
    """Read the settings.

    Args:
        config: TOML file; else the one that EVENTFLOW_CONFIG names, else `eventflow.toml` where there is one.
        role: Leaves settings that it does not use unread, unchecked and at their defaults.

    Raises:
        SettingsError: One line for each setting that is wrong.
    """
    path = config_file(config, os.environ)

    class Sourced(Settings):
        config = path

    Sourced.role = role
    try:
        return Sourced()
    except ValidationError as error:
        raise SettingsError(_explained(error)) from None


def broker_urls_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the broker URLs that an environment names, with their passwords; nothing if it names none.

    For programs that find themselves a broker then; an empty variable leaves it to them.

    Raises:
        SettingsError: They are wrong.
    """
    named = {name: text for name, text in capitalized(environ).items() if name.startswith(BROKER_PREFIX) and text}
    given = read_files(from_environment(named))
    if "url" not in given.get("broker", {}):
        return ()
    try:
        return BrokerSettings.model_validate(given["broker"]).urls
    except ValidationError as error:
        raise SettingsError(_explained(error, "broker")) from None


def success_statuses(ranges: Sequence[str]) -> frozenset[int]:
    """Return every status that `TargetSettings.success_status` names.

    Raises:
        ValueError: A part of it is no status and no range of them.
    """
    statuses: set[int] = set()
    for text in ranges:
        found = _STATUSES.fullmatch(text)
        first, last = (0, -1) if found is None else _bounds_of(found)
        if first > last:
            raise ValueError(
                f"{text!r} is no status from 200 to 599, no range such as 200-299 and no class such as 2xx"
            )
        statuses.update(range(first, last + 1))
    return frozenset(statuses)


def _bounds_of(found: re.Match[str]) -> tuple[int, int]:
    if found[1] is not None:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    return int(found[2]), int(found[3] or found[2])


def variable_name(flow: str, section: str, field: str) -> str:
    """Name the environment variable of a flow's setting."""
    path = (section, field) if flow == DEFAULT_FLOW else ("flows", flow, section, field)
    return ENV_PREFIX + "__".join(part.upper() for part in path)


def _explained(error: ValidationError, *section: str) -> str:
    """Return one line for each setting that is wrong; of several errors in one secret, which look the same, one."""
    lines = (_shown(line, LINE_MAX_CHARACTERS) for line in _explain(error, section))
    return "\n".join(dict.fromkeys(lines))


def _explain(error: ValidationError, section: tuple[str, ...]) -> Iterator[str]:
    wrong_parts: set[str] = set()
    for detail in error.errors(include_url=False):
        location = (*section, *(str(part) for part in detail["loc"]))
        accepted = str(detail["msg"]).removeprefix("Value error, ")
        if not detail["loc"] or accepted.startswith(ENV_PREFIX):
            yield accepted
            continue
        if detail["type"] == "extra_forbidden":
            yield _unknown((*location, *_only_names(detail["input"])))
            continue
        field, path = _field_at(location)
        variable = ENV_PREFIX + "__".join(part.upper() for part in path)
        if path != location:
            wrong_parts.add(variable)
        if detail["type"] in {"model_type", "dict_type"} and (field is None or path[-1] in _SECTIONS):
            accepted = f"it is a section of settings, whose names begin with {variable}__"
        if detail["type"] == "too_short":
            if variable in wrong_parts:
                continue  # it is short of the parts that are wrong
            accepted = "it is named and empty; leave the name out for the default"
        yield f"{variable}{_value_shown(field, detail['input'])}: {accepted}"


def _unknown(path: tuple[str, ...]) -> str:
    variable = _shown(ENV_PREFIX + "__".join(part.upper() for part in path))
    meant = _meant_by(path)
    advice = f"is {meant} meant?" if meant else "docs/configuration.md lists them"
    return f"{variable} ({_shown('.'.join(path))} in TOML) is not a setting; {advice}"


def _only_names(value: object) -> Iterator[str]:
    """Yield the rest of the name of a setting that a name splits in the wrong places."""
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        yield str(name)


def _value_shown(field: FieldInfo | None, value: object) -> str:
    """Return a value for an error about it: nothing of a secret, and of a URL only the host."""
    if field is None or is_secret(field):
        return ""
    if field is TargetSettings.model_fields["url"]:
        url = shown_http_url(value) if isinstance(value, str) else None
        return f" = {url!r}" if url else ""
    return f" = {_shown(repr(value))}"


def _shown(text: str, max_characters: int = SHOWN_MAX_CHARACTERS) -> str:
    """Return a text in one line that is not too long."""
    line = text if text.isprintable() else ascii(text)
    return line if len(line) <= max_characters else f"{line[:max_characters]}..."


def _meant_by(path: tuple[str, ...]) -> str | None:
    """Return the variable that a name which is none most likely stands for."""
    flow = path[:2] if path[0] == "flows" else ()
    sections = set(FlowSettings.model_fields) if flow else set(_SECTIONS) - {"flows"}
    known = {
        f"{section}_{field}{suffix}": ENV_PREFIX + "__".join((*flow, section, field + suffix)).upper()
        for section in sections
        for field in _SECTIONS[section].model_fields
        for suffix in ("", "_file")
    }
    written = re.sub("_+", "_", "_".join(path[len(flow) :]).lower()).strip("_")
    return next((known[name] for name in get_close_matches(written, known, n=1, cutoff=0.85)), None)


def _field_at(location: tuple[str, ...]) -> tuple[FieldInfo | None, tuple[str, ...]]:
    """Find the field that an error's location points into, and the part of the location that names it."""
    fields: Mapping[str, FieldInfo] = Settings.model_fields
    for depth, part in enumerate(location):
        if fields is FlowSettings.model_fields and location[0] == "flows" and depth == 1:
            continue  # the flow's own name
        field = fields.get(part)
        if field is None:
            return None, location
        section = _SECTIONS.get(part)
        if section is None or fields is ProcessorSettings.model_fields:  # whose `flows` are names
            return field, location[: depth + 1]
        fields = section.model_fields
    return None, location


_SECTIONS: Mapping[str, type[Section]] = {
    "broker": BrokerSettings,
    "collector": CollectorSettings,
    "processor": ProcessorSettings,
    "source": SourceSettings,
    "target": TargetSettings,
    "flows": FlowSettings,
    "telemetry": TelemetrySettings,
}
