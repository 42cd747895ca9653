"""The section `[source]` of a flow. Pure."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, WithJsonSchema, field_validator

from eventflow.senders.table import NO_SENDER, SENDERS
from eventflow.settings.fields import MIB, ApiKeys, Secrets, Section, is_token, require_signing_keys

_VERIFY_NAMES = (*SENDERS, NO_SENDER)


def _sender_name(value: object) -> object:
    if value not in _VERIFY_NAMES:
        raise ValueError(f"one of these is expected: {', '.join(map(repr, _VERIFY_NAMES))}")
    return value


def _header_name(value: str) -> str:
    if value and not is_token(value):
        raise ValueError("the name of a header is expected: letters, digits and hyphens")
    return value


class SourceSettings(Section):
    """Senders of a flow: how they authenticate, and how much they may send."""

    api_keys: ApiKeys = Field(
        (), description="accepted values of the header `X-Api-Key`, separated by commas; several = rotation"
    )
    verify: Annotated[
        # Before the type is checked: a value in TOML may be no text, and that error would not list the names.
        str,
        BeforeValidator(_sender_name),
        WithJsonSchema({"type": "string", "enum": list(_VERIFY_NAMES)}),
    ] = Field(NO_SENDER, description="signature that each request must carry, in addition to a key if there are keys")
    secrets: Secrets = Field(
        (),
        validate_default=True,
        description="signing secrets for `verify`, separated by commas, current first; several = rotation",
    )
    hmac_header: Annotated[str, AfterValidator(_header_name)] = Field(
        "", validate_default=True, description="header of the signature if `verify` is `hmac`"
    )
    hmac_algorithm: Literal["sha256", "sha512", "sha1"] = Field(
        "sha256", description="hash function if `verify` is `hmac`"
    )
    hmac_encoding: Literal["hex", "base64"] = Field(
        "hex", description="encoding of the signature if `verify` is `hmac`; hex is in lower case"
    )
    hmac_prefix: str = Field("", description="text before the signature in its header if `verify` is `hmac`")
    tolerance_s: float = Field(
        300.0,
        gt=0,
        le=86_400,
        description="largest difference between a signed timestamp and now; a larger one is answered 401",
    )
    max_body_bytes: int = Field(
        MIB, ge=1, le=128 * MIB, description="largest body of an event; a larger one is answered 413"
    )
    max_batch_events: int = Field(
        1000, ge=1, le=10_000, description="most events in one batch; a larger batch is answered 413"
    )
    max_batch_bytes: int = Field(
        4 * MIB,
        ge=1,
        le=128 * MIB,
        description="largest batch; a larger one is answered 413, as is a batch with an event that is too large",
    )
    dedup_s: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="time in which an event with the id of an accepted one is answered as accepted and not published "
        "again; exact within one worker process, and lost at its end; 0 = off",
    )
    dedup_max_ids: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="most ids that one worker process remembers for `dedup_s`, at most 320 bytes each; if there are "
        "more, the oldest are forgotten early",
    )
    allow_unauthenticated: bool = Field(
        False, description="accept events without key and signature from everyone who can reach the collector"
    )

    @property
    def lacks_authentication(self) -> bool:
        """Whether every sender would be accepted, although no setting allows that."""
        return not (self.api_keys or self.verify != NO_SENDER or self.allow_unauthenticated)

    @field_validator("secrets")
    @classmethod
    def _check_secrets(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        verify = info.data.get("verify")
        if verify is None:  # it is itself wrong
            return value
        if verify == NO_SENDER:
            if value:
                raise ValueError(f"they have no effect, because verify is {verify}")
            return value
        if not value:
            raise ValueError(f"at least one is expected, because verify is {verify}")
        signature = SENDERS[verify].signature
        return require_signing_keys(value) if signature is not None and signature.has_base64_secrets else value

    @field_validator("hmac_header")
    @classmethod
    def _check_hmac_header(cls, value: str, info: ValidationInfo) -> str:
        sender = SENDERS.get(info.data.get("verify", NO_SENDER))
        if not value and sender is not None and sender.signature is None:
            raise ValueError(f"the name of the signature's header is expected, because verify is {sender.name}")
        return value
