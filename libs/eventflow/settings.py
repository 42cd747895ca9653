"""Settings: a TOML file overridden by environment variables, parsed once into frozen models.

Each variable is `EVENTFLOW_{SECTION}__{FIELD}`; with `_FILE` behind its name it names a file that holds the value.
`[source]` and `[target]` are the flow `default`; `[flows.NAME.source]` and `[flows.NAME.target]` add more.
docs/configuration.md is generated from these models.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
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

from eventflow.errors import SettingsError
from eventflow.standard_webhooks import signing_key
from eventflow.topology import DEFAULT_FLOW, FLOW_NAME

ENV_PREFIX = "EVENTFLOW_"
CONFIG_VARIABLE = "EVENTFLOW_CONFIG"
DEFAULT_CONFIG = Path("eventflow.toml")
MIB = 1024 * 1024
_USERINFO = re.compile(r"//[^/@]*@")
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
    except ValueError:
        raise ValueError('a JSON object of strings is expected, such as {"Authorization": "Bearer ..."}') from None


def _broker_url(value: SecretStr) -> SecretStr:
    url = urlsplit(value.get_secret_value())
    if url.scheme not in {"amqp", "amqps"} or not url.hostname:
        raise ValueError("amqp://user:password@host:port/vhost or amqps://... is expected")
    return value


def _target_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("http://host/path or https://host/path is expected")
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
    if not (value.isascii() and value.isprintable()):
        raise ValueError("header values are printable ASCII")


def _headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, secret in value.items():
        _header(name, secret.get_secret_value())
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
        signing_key(secret.get_secret_value())
    return value


Secrets = Annotated[tuple[Annotated[SecretStr, Field(min_length=1)], ...], BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535)]
DelayS = Annotated[float, Field(ge=0.001, le=2_000_000)]


class Section(BaseModel):
    """A part of the settings: frozen, and a name that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)


class BrokerSettings(Section):
    """RabbitMQ, the only store."""

    url: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_broker_url)], ...],
        BeforeValidator(_split),
        Field(
            min_length=1,
            validate_default=True,
            description="one URL or several, comma-separated (a cluster: tried in turn)",
        ),
    ] = (SecretStr("amqp://guest:guest@127.0.0.1:5672/"),)
    management_url: Annotated[
        Annotated[SecretStr, AfterValidator(_management_url)] | None, BeforeValidator(_unset_if_empty)
    ] = Field(
        None,
        description="RabbitMQ's management API, `http://host:15672`, where policies are read; user and password are "
        "those of the first broker URL unless it has its own; unset = policies are not looked at",
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs with their passwords: for connecting, never for showing."""
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
        description="bodies held by all open requests and unresolved publishes; above it 503",
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


class SourceSettings(Section):
    """Who may send events of a flow, how they prove it, and how large."""

    api_keys: Secrets = Field(
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
        False, description="accept events without keys or signatures on an address that is not loopback"
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
    rate_per_s: Annotated[float | None, Field(gt=0, le=1_000_000, allow_inf_nan=False), BeforeValidator(_auto)] = Field(
        None, description="quota units per second for all processors together; unset = unlimited"
    )
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


class EnvironmentSource(PydanticBaseSettingsSource):
    """`EVENTFLOW_A__B=text` as `{"a": {"b": "text"}}`; `EVENTFLOW_A__B_FILE=path` as the file's content."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's port
        """Not used: the whole environment is read at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the nested values.

        Raises:
            SettingsError: A file that a variable names cannot be read.
        """
        nested: dict[str, Any] = {}
        for variable, text in sorted(os.environ.items()):
            if not variable.startswith(ENV_PREFIX) or variable == CONFIG_VARIABLE:
                continue
            *sections, field = variable.removeprefix(ENV_PREFIX).lower().split("__")
            place = nested
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    raise SettingsError(
                        f"{ENV_PREFIX}{section.upper()} is a section; set {variable} and the like alone"
                    )
            if sections and field.endswith("_file"):
                place[field.removesuffix("_file")] = _read_secret(variable, text)
            else:
                place[field] = text
        return nested


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{variable} = {path!r}: the file cannot be read: {reason}") from error


class Settings(BaseSettings):
    """All settings of both services."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, toml_file=None)
    config: ClassVar[Path | None] = None

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
        return EnvironmentSource(settings_cls), TomlConfigSettingsSource(settings_cls, toml_file=cls.config)

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


def load(config: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        config: TOML file; else the one that EVENTFLOW_CONFIG names, else `eventflow.toml` where there is one.

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

    try:
        return Sourced()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error))) from None
    except ValueError as error:  # the TOML parser's
        raise SettingsError(f"{path}: not valid TOML: {error}") from error


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
    """Check what only the collector needs: whoever can reach it must prove who they are, or be on this machine.

    Raises:
        SettingsError: A flow accepts anybody's events on an address that is not loopback.
    """
    host = settings.collector.host
    if _is_loopback(host):
        return
    for name, flow in settings.all_flows.items():
        source = flow.source
        if not source.api_keys and source.verify == "none" and not source.allow_unauthenticated:
            raise SettingsError(
                f"EVENTFLOW_COLLECTOR__HOST = {host!r}: flow {name!r} would accept events from anybody; "
                f"set {variable_name(name, 'source', 'api_keys')} or {variable_name(name, 'source', 'verify')}, "
                f"or listen on 127.0.0.1, "
                f"or set {variable_name(name, 'source', 'allow_unauthenticated')}=true"
            )


def variable_name(flow: str, section: str, field: str) -> str:
    """Name the environment variable of a flow's setting."""
    path = (section, field) if flow == DEFAULT_FLOW else ("flows", flow, section, field)
    return ENV_PREFIX + "__".join(part.upper() for part in path)


def is_secret(field: FieldInfo) -> bool:
    """Whether the value of a setting must never be shown."""
    return "SecretStr" in repr(field.annotation) or "SecretStr" in repr(field.metadata)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _explain(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        location = tuple(str(part) for part in detail["loc"])
        accepted = str(detail["msg"]).removeprefix("Value error, ")
        if not location:
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
