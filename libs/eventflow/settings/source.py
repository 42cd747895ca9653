"""The section `[source]` of a flow. Pure."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from eventflow.forwarded import is_forwardable
from eventflow.http_token import is_token
from eventflow.json_pointer import is_pointer
from eventflow.network.host import check_http_url
from eventflow.senders.table import NO_SENDER, OWN_HMAC
from eventflow.senders.vocabulary import (
    Answer,
    Encoding,
    FormField,
    Header,
    Hmac,
    Place,
    Pointer,
    Sender,
    Text,
    Time,
    TimeFormat,
)
from eventflow.settings.fields import MIB, ApiKeys, Secrets, Section, split


def _sender_name(value: object) -> object:
    """Check the type only: `Settings` knows the names, and pydantic's own error would not point to them."""
    if not isinstance(value, str):
        raise ValueError("the name of a sender is expected; `eventflow sources` lists them")  # noqa: TRY004 - pydantic
    return value


def _header_name(value: str) -> str:
    if value and not is_token(value):
        raise ValueError("the name of a header is expected: letters, digits and hyphens")
    return value


def _forwardable(value: str) -> str:
    name = value.removesuffix("*")
    if not (is_token(name) or value == "*") or "*" in name:
        raise ValueError("the name of a header is expected, or the beginning of one and `*`, such as X-Shopify-*")
    if name == value and not is_forwardable(name):
        raise ValueError(f"{value} is never forwarded: it concerns the connection, or Event Flow sets it itself")
    return value


def _public_url(value: str) -> str:
    if value:
        check_http_url(value)
        if "?" in value or "#" in value:
            raise ValueError("no query and no fragment is accepted in it; the query of each request is added")
    return value


def _status(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _pointer(value: str) -> str:
    if not is_pointer(value):
        raise ValueError("a JSON pointer is expected, such as /data/id, in which ~ is written ~0")
    return value


def _texts(places: Iterable[Place]) -> tuple[Text, ...]:
    return tuple(Text(parts=(place,)) for place in places)


OwnHeader = Annotated[str, AfterValidator(_header_name)]
OwnPointer = Annotated[str, AfterValidator(_pointer)]


class SourceSettings(Section):
    """Senders of a flow: how they authenticate, and how much they may send."""

    enabled: bool = Field(
        True,
        description="accept events over HTTP; `false` for a flow whose events come only from handlers and outboxes, "
        "which then needs no key",
    )
    api_keys: ApiKeys = Field(
        (), description="accepted values of the header `X-Api-Key`, separated by commas; several = rotation"
    )
    verify: Annotated[str, BeforeValidator(_sender_name)] = Field(
        NO_SENDER,
        description="sender that each request must come from, in addition to a key if there are keys: one that "
        "`eventflow sources` lists, one of the section `[senders]`, `hmac` (see below) or `none`",
    )
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
    hmac_encoding: Encoding = Field(
        "hex",
        description="encoding of the signature if `verify` is `hmac`; hex in either case, base64 padded or not",
    )
    hmac_prefix: str = Field("", description="text before the signature in its header if `verify` is `hmac`")
    tolerance_s: float = Field(
        300.0,
        gt=0,
        le=86_400,
        description="largest difference between a signed timestamp and now; a larger one is answered 401",
    )
    verify_tokens: Secrets = Field(
        (),
        description="texts that a sender such as `meta` may show when it registers the endpoint, separated by commas; "
        "you choose one and give it to the sender",
    )
    confirm_subscriptions: bool = Field(
        False,
        description="confirm subscriptions of a sender such as `amazon-sns` by fetching the address that it sends in "
        "an authentic request; otherwise such a request is answered 403",
    )
    public_url: Annotated[str, AfterValidator(_public_url)] = Field(
        "",
        description="public address of this flow as it is registered at the sender, such as "
        "`https://example.com/events/orders`, without a query; needed if the sender signs it",
    )
    id_header: OwnHeader = Field(
        "", description="header with the id of an event; these settings come before all other places of ids"
    )
    id_pointer: OwnPointer = Field("", description="JSON pointer to the id of an event in its body, such as `/data/id`")
    id_form: str = Field("", description="field of a form with the id of an event")
    type_header: OwnHeader = Field("", description="header with the type of an event")
    type_pointer: OwnPointer = Field(
        "", description="JSON pointer to the type of an event in its body, such as `/data/type`"
    )
    type_form: str = Field("", description="field of a form with the type of an event")
    source_header: OwnHeader = Field("", description="header with the source of an event")
    source_pointer: OwnPointer = Field(
        "", description="JSON pointer to the source of an event in its body, such as `/data/shop`"
    )
    source_form: str = Field("", description="field of a form with the source of an event")
    subject_header: OwnHeader = Field("", description="header with the subject of an event")
    subject_pointer: OwnPointer = Field(
        "", description="JSON pointer to the subject of an event in its body, such as `/data/subject`"
    )
    subject_form: str = Field("", description="field of a form with the subject of an event")
    time_header: OwnHeader = Field("", description="header with the time of an event")
    time_pointer: OwnPointer = Field(
        "", description="JSON pointer to the time of an event in its body, such as `/data/time`"
    )
    time_form: str = Field("", description="field of a form with the time of an event")
    time_format: TimeFormat = Field(
        "rfc3339", description="form of that time: `rfc3339`, or a whole number of seconds or milliseconds since 1970"
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
    forward_headers: Annotated[
        tuple[Annotated[str, AfterValidator(_forwardable)], ...], BeforeValidator(split), Field(max_length=100)
    ] = Field(
        (),
        description="headers of the sender that the target gets too, separated by commas; `X-Shopify-*` means each "
        "header with this beginning, unless its name suggests a secret or a signature",
    )
    forward_query: bool = Field(False, description="append the query of the sender's request to the URL of the target")
    allow_unauthenticated: bool = Field(
        False, description="accept events without key and signature from everyone who can reach the collector"
    )

    methods: Annotated[
        tuple[Literal["POST", "PUT", "PATCH", "GET"], ...], BeforeValidator(split), Field(min_length=1)
    ] = Field(
        ("POST",), description="methods of requests with events, separated by commas: `POST`, `PUT`, `PATCH`, `GET`"
    )
    allow_trailing_slash: bool = Field(True, description="accept one slash behind the path of the flow")
    allow_sub_paths: bool = Field(False, description="accept every path below that of the flow (`/events/{flow}/...`)")
    signed_body: Literal["received", "decoded"] = Field(
        "received", description="bytes that the sender signs if it compresses a body: as received, or `decoded`"
    )
    answer_status: Annotated[Literal[200, 202, 204], BeforeValidator(_status)] | None = Field(
        None,
        description="status of the answer to stored events: 200, 202, or 204 without a body; unset: the one that the "
        "sender in `verify` needs, usually 202",
    )
    answer_body: Literal["json", "empty"] | None = Field(
        None,
        description="body of that answer: `json` with the ids of the events, or `empty`; unset: the one that the "
        "sender in `verify` needs, usually `json`",
    )
    answer_text: str = Field(
        "",
        max_length=1000,
        description="fixed text as the body of that answer (`text/plain`), in the place of `answer_body`",
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
        return value

    @field_validator("hmac_header")
    @classmethod
    def _check_hmac_header(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("verify") == OWN_HMAC:
            raise ValueError(f"the name of the signature's header is expected, because verify is {OWN_HMAC}")
        return value

    @field_validator("answer_text")
    @classmethod
    def _check_answer_text(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("answer_body") is not None:
            raise ValueError("it cannot be set together with answer_body")
        if value and info.data.get("answer_status") == 204:
            raise ValueError("it has no effect, because answer_status is 204")
        return value

    def answer_after(self, sender: Sender | None) -> Answer:
        """Return the answer to stored events: each setting goes before that of the sender that the flow verifies."""
        default = Answer() if sender is None else sender.answer
        return Answer(
            status=self.answer_status or default.status,
            body=self.answer_body or default.body,
            text=self.answer_text or (default.text if self.answer_body is None else ""),
        )

    @property
    def own_places(self) -> Sender | None:
        """The places of attributes that these settings name, as those of a sender; None if they name none."""
        times = tuple(Time(place=place, format=self.time_format) for place in self._places_of("time"))
        places = Sender(
            name="",
            title="the settings of the flow",
            authentication=(),
            id=_texts(self._places_of("id")),
            type=_texts(self._places_of("type")),
            source=_texts(self._places_of("source")),
            subject=_texts(self._places_of("subject")),
            time=times,
        )
        return places if any((places.id, places.type, places.source, places.subject, times)) else None

    def _places_of(self, attribute: str) -> Iterator[Header | Pointer | FormField]:
        if header := getattr(self, f"{attribute}_header"):
            yield Header(header)
        if pointer := getattr(self, f"{attribute}_pointer"):
            yield Pointer(pointer)
        if form := getattr(self, f"{attribute}_form"):
            yield FormField(form)

    @property
    def own_hmac(self) -> Sender:
        """The sender that the settings `HMAC_*` describe."""
        signature = Hmac(
            signature=Header(self.hmac_header),
            algorithm=self.hmac_algorithm,
            encoding=self.hmac_encoding,
            prefix=self.hmac_prefix,
        )
        return Sender(name=OWN_HMAC, title="an HMAC in a header of the operator's choice", authentication=(signature,))
