"""The base class of all sections, and the field types that several sections share. Pure."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from eventflow.network.host import PORT_MAX, check_host
from eventflow.senders.keys import key_of
from eventflow.settings.secret_text import check_api_key, check_secret, keys_in, secrets_in
from eventflow.settings.value_text import check_literal, check_path

MIB = 1024 * 1024


class Section(BaseModel):
    """A section of the settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_as_written(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str) or info.field_name is None:
            return value
        check_literal(value)
        # The parsers of secrets strip each one themselves. They must see the `FileText` that strip() would lose.
        return value if is_secret(cls.model_fields[info.field_name]) else value.strip()


def is_secret(field: FieldInfo) -> bool:
    """Return True if the value of a setting must never be shown."""
    return "SecretStr" in repr(field.annotation) or "SecretStr" in repr(field.metadata)


def split(value: object) -> object:
    """Split the text of a variable at its commas; an array from TOML passes unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def auto(value: object) -> object:
    """Read `auto` and an empty text as None."""
    return None if isinstance(value, str) and value in {"auto", ""} else value


def checked_by(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that applies a check of texts to a secret."""

    def checked(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(checked)


def require_signing_keys(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Return the secrets if each can sign as Standard Webhooks prescribes.

    Raises:
        ValueError: One is not base64, or is too short.
    """
    for secret in secrets:
        key_of(secret.get_secret_value(), "whsec")
    return secrets


def _listening_host(value: str) -> str:
    host = value.removeprefix("[").removesuffix("]") if ":" in value else value
    try:
        check_host(host)
    except ValueError as error:
        raise ValueError(f"{error}; 0.0.0.0 is every IPv4 address, :: every IPv6 and IPv4 address") from None
    return host


def _path(value: object) -> object:
    if not isinstance(value, str):
        return value
    path = value.strip()
    if not path:
        return None
    check_path(path)
    return path


def _networks(value: object) -> object:
    if not isinstance(value, list):
        return value
    try:
        return tuple(ip_network(part) for part in value)
    except ValueError as error:
        raise ValueError(f"addresses and networks such as 10.0.0.7 and 10.0.0.0/8 are expected: {error}") from None


Secrets = Annotated[tuple[Annotated[SecretStr, checked_by(check_secret)], ...], BeforeValidator(secrets_in)]
ApiKeys = Annotated[tuple[Annotated[SecretStr, checked_by(check_api_key)], ...], BeforeValidator(keys_in)]
ListeningHost = Annotated[str, AfterValidator(_listening_host)]
Port = Annotated[int, Field(ge=0, le=PORT_MAX)]
AdminHost = Annotated[ListeningHost, Field(description="address of /livez, /readyz and /metrics")]
AdminPort = Annotated[
    Port,
    Field(
        description="port of /livez, /readyz and /metrics; 0 = a free port; if it is not set and the default is in "
        "use, the next free one is taken"
    ),
]
AbsolutePath = Annotated[Path | None, BeforeValidator(_path)]
"""An absolute path; None for an empty text."""

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks), BeforeValidator(split)]
