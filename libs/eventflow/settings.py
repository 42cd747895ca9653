"""Settings: a TOML file overridden by environment variables, parsed once into frozen models.

Each variable is `EVENTFLOW_{SECTION}__{FIELD}`; with `_FILE` behind its name it names a file that holds the value.
`[source]` and `[target]` are the flow `default`; `[flows.NAME.source]` and `[flows.NAME.target]` add more.
docs/configuration.md is generated from these models.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

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
    TomlConfigSettingsSource,
)

from eventflow.broker_url import check_broker_url, has_userinfo, with_credentials
from eventflow.errors import SettingsError
from eventflow.runtime import RATE_MAX_PER_S, RATE_MIN_PER_S
from eventflow.secret_text import check_api_key, check_secret, file_text, keys_in, secrets_in, urls_in
from eventflow.standard_webhooks import signing_key
from eventflow.topology import DEFAULT_FLOW, FLOW_NAME

ENV_PREFIX = "EVENTFLOW_"
BROKER_PREFIX = f"{ENV_PREFIX}BROKER__"
CONFIG_VARIABLE = "EVENTFLOW_CONFIG"
DEFAULT_CONFIG = Path("eventflow.toml")
DEFAULT_BROKER = "amqp://127.0.0.1:5672/"
MIB = 1024 * 1024
SIGNING_KEY_MIN_BYTES = 16
"""Standard Webhooks asks for 24 to 64. What decodes to less is a word that happens to be base64, such as `v1`."""

_USERINFO = re.compile(r"//.*@")
"""Up to the last @: a password that is not percent-encoded may have one too."""

_STATUSES = re.compile(r"([2-5])xx|([2-5]\d\d)(?:\s*-\s*([2-5]\d\d))?", re.ASCII | re.IGNORECASE)
_POINTER = re.compile(r"(/([^~/]|~[01])*)+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _auto(value: object) -> object:
    return None if value in {"auto", ""} else value


def _unset_if_empty(value: object) -> object:
    return None if value == "" else value


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('a JSON object of strings is expected, such as {"Authorization": "Bearer ..."}') from None


def _checked_by(check: Callable[[str], None]) -> AfterValidator:
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
        url = urlsplit(value)
        is_complete = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # it quotes what stands there, which may be of a password
        is_complete = False
    if not is_complete:
        raise ValueError(
            "http://host/path or https://host/path is expected, with a port from 1 to 65535 if there is one"
        )
    if url.username or url.password:
        raise ValueError("no user or password is accepted in it; set EVENTFLOW_TARGET__HEADERS instead")
    return value


def _management_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        url = urlsplit(text)
        port = url.port  # parsed only now, and wrong ones raise
    except ValueError:
        url, port = None, None
    if url is None or url.scheme not in {"http", "https"} or not url.hostname or port == 0 or url.query or url.fragment:
        raise ValueError("http://host:port or https://host:port of RabbitMQ's management API is expected")
    return value


def _is_token(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _header(name: str, value: str) -> None:
    if not _is_token(name):
        raise ValueError("header names are made of letters, digits and hyphens")
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
Port = Annotated[int, Field(ge=0, le=65535)]
DelayS = Annotated[float, Field(ge=0.001, le=2_000_000)]


class Section(BaseModel):
    """A part of the settings: frozen, and a name that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)


class BrokerSettings(Section):
    """RabbitMQ, the only store."""

    url: Annotated[
        tuple[Annotated[SecretStr, _checked_by(check_broker_url)], ...],
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

    host: str = Field("127.0.0.1", description="where events come in")
    port: Port = Field(8080, description="where events come in; 0 takes a free port")
    admin_host: str = Field("127.0.0.1", description="address of /livez /readyz /metrics")
    admin_port: Port = Field(9464, description="port of /livez /readyz /metrics; 0 takes a free port")
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
    spool_dir: Annotated[Path | None, BeforeValidator(_unset_if_empty)] = Field(
        None,
        description="directory of the durable local buffer for events that the broker cannot confirm, made 0700; "
        "unset = none, and they are answered 503",
    )
    spool_max_bytes: int = Field(
        1024 * MIB,
        ge=64 * 1024,
        description="bytes in that directory, of all workers together, beside a journal of a few MiB for each; "
        "above it 503, as when less than 5 % of the disk (at most 64 MiB) is free",
    )
    drain_timeout_s: float = Field(10.0, gt=0, le=300, description="how long SIGTERM waits for requests in flight")
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
    rate_per_s: Annotated[
        float | None, Field(ge=RATE_MIN_PER_S, le=RATE_MAX_PER_S, allow_inf_nan=False), BeforeValidator(_auto)
    ] = Field(None, description="quota units per second for all processors together; unset = unlimited")
    burst: float = Field(1.0, gt=0, le=1_000_000, description="bucket size in units, for all processors together")
    cost: float = Field(1.0, gt=0, le=1_000_000, description="units that one attempt costs")
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

    admin_host: str = Field("127.0.0.1", description="address of /livez /readyz /metrics")
    admin_port: Port = Field(9465, description="port of /livez /readyz /metrics; 0 takes a free port")
    prefetch: Annotated[int | None, Field(ge=1, le=2000), BeforeValidator(_auto)] = Field(
        None,
        description="unacked live deliveries held; auto = what rate x timeout needs, "
        "at least 2, at most min(2000, 64 MiB / MAX_BODY_BYTES)",
    )
    flows: Annotated[tuple[str, ...] | None, BeforeValidator(_split)] = Field(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A value that stands in a file, which is read only if the value is used.

    Attributes:
        is_second: A variable without `_FILE` has given the value already.
    """

    variable: str
    path: str
    is_second: bool

    def read(self) -> str:
        """Read it.

        Raises:
            SettingsError: It cannot be read, or the value is given twice.
        """
        if self.is_second:
            raise SettingsError(
                f"{self.variable.removesuffix('_FILE')} is set, and {self.variable} too: keep one of them"
            )
        try:
            return file_text(Path(self.path).read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise SettingsError(f"{self.variable} = {self.path!r}: the file cannot be read: {reason}") from error


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
        return _read_files(_used_by(role, _nested(os.environ)))


class TomlSource(TomlConfigSettingsSource):
    """The TOML file."""

    def __call__(self) -> dict[str, Any]:
        """Return the nested values that the role uses."""
        return _used_by(getattr(self.settings_cls, "role", None), super().__call__())


def _nested(environ: Mapping[str, str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        *sections, field = variable.removeprefix(ENV_PREFIX).lower().split("__")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(f"{ENV_PREFIX}{section.upper()} is a section; set {variable} and the like alone")
        is_file = bool(sections) and field.endswith("_file")
        name = field.removesuffix("_file") if is_file else field
        place[name] = _File(variable=variable, path=text, is_second=name in place) if is_file else text
    return nested


def _read_files(nested: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _read_files(value) if isinstance(value, dict) else value.read() if isinstance(value, _File) else value
        for name, value in nested.items()
    }


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

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, toml_file=None)
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
        return EnvironmentSource(settings_cls), TomlSource(settings_cls, toml_file=cls.config)

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
    path = config or (Path(named) if (named := os.environ.get(CONFIG_VARIABLE)) else None)
    if path is not None and not path.is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} or --config = {str(path)!r}: there is no such file")
    if path is None and DEFAULT_CONFIG.is_file():
        path = DEFAULT_CONFIG

    class Sourced(Settings):
        config = path

    Sourced.role = role
    try:
        return Sourced()
    except ValidationError as error:
        raise SettingsError(_explained(error)) from None
    except OSError as error:
        raise SettingsError(f"{path}: the file cannot be read: {error.strerror}") from error
    except ValueError as error:  # the TOML parser's
        raise SettingsError(f"{path}: not valid TOML: {error}") from error


def broker_urls_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the broker URLs that an environment names, with their passwords; nothing if it names none.

    For programs that find themselves a broker then; an empty variable leaves it to them.

    Raises:
        SettingsError: They are wrong.
    """
    named = {name: text for name, text in environ.items() if name.startswith(BROKER_PREFIX) and text}
    given = _read_files(_nested(named))
    if "url" not in given.get("broker", {}):
        return ()
    try:
        return BrokerSettings.model_validate(given["broker"]).urls
    except ValidationError as error:
        raise SettingsError(_explained(error, "broker")) from None


def require_target_urls(settings: Settings) -> None:
    """Check what only the processor needs.

    Raises:
        SettingsError: A served flow has no target.
    """
    for name, flow in settings.served_flows.items():
        if flow.target.url is None:
            raise SettingsError(
                f"{variable_name(name, 'target', 'url')} is not set: http://host/path of the target is expected"
            )


def require_safe_exposure(settings: Settings) -> None:
    """Check what only the collector needs: every flow knows its senders, or says that it takes events from everyone.

    An address of loopback is no protection: a proxy that stands there passes on what comes from outside.

    Raises:
        SettingsError: A flow accepts events without any authentication, and is not allowed to.
    """
    for name, flow in settings.all_flows.items():
        source = flow.source
        if not source.api_keys and source.verify == "none" and not source.allow_unauthenticated:
            raise SettingsError(
                f"{variable_name(name, 'source', 'api_keys')} is not set: flow {name!r} would accept events from "
                f"everyone who reaches {settings.collector.host}; set it or {variable_name(name, 'source', 'verify')}, "
                f"or {variable_name(name, 'source', 'allow_unauthenticated')}=true"
            )


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


def is_secret(field: FieldInfo) -> bool:
    """Whether the value of a setting must never be shown."""
    return "SecretStr" in repr(field.annotation) or "SecretStr" in repr(field.metadata)


def _explained(error: ValidationError, *section: str) -> str:
    """Return one line for each setting that is wrong; of several errors in one secret, which look the same, one."""
    return "\n".join(dict.fromkeys(_explain(error, section)))


def _explain(error: ValidationError, section: tuple[str, ...]) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        location = (*section, *(str(part) for part in detail["loc"]))
        accepted = str(detail["msg"]).removeprefix("Value error, ")
        if not detail["loc"] or accepted.startswith(ENV_PREFIX):
            yield accepted
            continue
        field, path = _field_at(location)
        variable = ENV_PREFIX + "__".join(part.upper() for part in path)
        if detail["type"] == "extra_forbidden":
            yield f"{variable} ({'.'.join(path)} in TOML) is not a setting; docs/configuration.md lists them"
            continue
        is_shown = field is not None and not is_secret(field)
        shown = f" = {_USERINFO.sub('//***@', repr(detail['input']))}" if is_shown else ""
        yield f"{variable}{shown}: {accepted}"


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
        if section is None:
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
