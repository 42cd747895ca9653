"""Vocabulary that describes a sender of webhooks. Pure.

A sender is a value: how it authenticates, what it asks an endpoint before it sends events, what it wants as an answer,
and the places of an event's attributes in its requests. The table of known senders is made of these values, and an
operator writes the same values in TOML: each class is a TOML table, and each of its attributes a key of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Tag

Algorithm = Literal["sha1", "sha256", "sha512"]

Encoding = Literal["hex", "base64", "base64url"]
"""Form of a digest or signature. Hex is accepted in either case, base64 with its padding or without."""

KeyForm = Literal["text", "hex", "base64", "whsec", "whpk"]
"""Form of a secret: its text is the key, or the key is written in hex or base64. `whsec` is base64 that may follow
`whsec_`, and `whpk` base64 that follows `whpk_`: so Standard Webhooks writes secret and public keys."""

TimeFormat = Literal["rfc3339", "unix_s", "unix_ms"]
"""Form of a time: RFC 3339, or whole seconds or milliseconds since 1970."""

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT"]

Scalar = str | int | bool


FORM = "application/x-www-form-urlencoded"
"""Content type of a form."""


class Table:
    """A class that is a table in TOML: an unknown key is an error."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Header(Table):
    """The value of a header."""

    header: str


@dataclass(frozen=True)
class Pointer(Table):
    """The value at a JSON pointer (RFC 6901) in the body.

    It is looked up only in flows that verify this sender, because every body would have to be parsed otherwise. In a
    token, a step `*` stands for all elements of an array, and each of them must have a right value.
    """

    pointer: str


@dataclass(frozen=True)
class FirstMember(Table):
    """The value of a member with this name that a JSON object begins with: letters and underscores, at most 64.

    It is found without parsing the body.
    """

    first_member: str


@dataclass(frozen=True)
class FormField(Table):
    """The value of a field of a form (of the content type `FORM`) in the body; of several, the first."""

    form: str


@dataclass(frozen=True)
class Query(Table):
    """The value of a parameter in the query of the request's address, decoded; of several, the first."""

    query: str


@dataclass(frozen=True)
class SubPath(Table):
    """The rest of the path behind the flow's name, without the slash between them: `t0ken` in `/events/flow/t0ken`."""

    sub_path: Literal[True] = True


@dataclass(frozen=True)
class Item(Table):
    """The rest of the first item with this prefix in the signature's header, such as `t=` in `t=1,v1=abc`."""

    item: str


def _kind(table: object) -> str | None:
    """Return the key that tells one kind of place from another."""
    return next(iter(table), None) if isinstance(table, dict) else next(iter(vars(table)), None)


_HeaderPlace = Annotated[Header, Tag("header")]
_PointerPlace = Annotated[Pointer, Tag("pointer")]
_FirstMemberPlace = Annotated[FirstMember, Tag("first_member")]
_FormPlace = Annotated[FormField, Tag("form")]
_QueryPlace = Annotated[Query, Tag("query")]
_SubPathPlace = Annotated[SubPath, Tag("sub_path")]
_ItemPlace = Annotated[Item, Tag("item")]

Place = Annotated[
    _HeaderPlace | _PointerPlace | _FirstMemberPlace | _FormPlace | _QueryPlace | _SubPathPlace, Discriminator(_kind)
]
"""A place of one text in a request."""

SignedPlace = Annotated[
    _HeaderPlace | _PointerPlace | _FirstMemberPlace | _FormPlace | _QueryPlace | _SubPathPlace | _ItemPlace,
    Discriminator(_kind),
]
"""A place of one text in a request, or beside its signature."""

_PLACES = frozenset({"header", "pointer", "first_member", "form", "query", "sub_path"})


def _as_tuple(value: object) -> object:
    """Accept one value in TOML where several can be written."""
    return value if value is None or isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True, kw_only=True)
class Condition(Table):
    """A demand on one place of a request.

    Attributes:
        equals: The value that it has: a text, a number, true or false, or an empty list; None if any value fulfills it.
        begins: The text that it begins with, whatever the case of its letters.
        is_absent: Whether nothing may be there. An empty header or field counts as nothing; in JSON, null is a value.
    """

    place: Place
    equals: Scalar | list[Any] | None = None
    begins: str | None = None
    is_absent: bool = False


Conditions = Annotated[tuple[Condition, ...], BeforeValidator(_as_tuple)]


@dataclass(frozen=True, kw_only=True)
class Text(Table):
    """A text that a request holds in one place or several. In TOML, a single place can be written in its stead.

    Attributes:
        parts: Joined by the separator; the text is absent if one of them is.
        suffix: Added after a separator if it is present and the whole is not too long.
        when: The text counts only in requests that fulfill all of these.
    """

    parts: Annotated[tuple[Place, ...], BeforeValidator(_as_tuple)]
    suffix: Place | None = None
    separator: str = ""
    when: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class Time(Table):
    """A time that a request holds."""

    place: Place
    format: TimeFormat = "rfc3339"


@dataclass(frozen=True, kw_only=True)
class Signed(Table):
    r"""The part that all schemes with a signature share.

    Attributes:
        signature: The place of the signature, or of a list of them.
        separator: Separates several signatures and other items; empty if there is one signature.
        prefix: Precedes a signature.
        encoding: The form of a signature.
        signed: The text that is signed, as a template. `{body}` is the body as received, `{body_sha256}` its hash in
            hex, `{body_crc32}` its checksum in digits, `{url}` the address of the request as the sender has it (the
            setting `PUBLIC_URL`, the sub-path and the query), `{method}` the method, `{form}` the decoded names and
            values of a form, sorted, `{timestamp}` the signed time, `{secret}` each of the flow's secrets in turn, and
            any other name one of `fields`. A part in square brackets is left out if a field in it is absent, such as
            `[Subject\n{subject}\n]`. A brace or bracket that stands for itself is written twice.
        fields: Places of other texts in the template, by name.
        timestamp: Place of the signed time, `{timestamp}` in the template unless it is part of the signed body; None
            if no time is signed, so that a request is valid forever.
        timestamp_format: Form of that time.
        body_sha256: Place of the body's SHA-256 in hex, for a template that does not contain the body; it must be there
            and be right. Its place must be signed, such as a parameter of a signed address.
        signs_body: Whether the whole body is signed. False: the sender signs only parts of it, so the rest can be
            changed by anyone who has seen a request.
        when: The scheme applies only to requests that fulfill all of these.
    """

    signature: Place
    separator: str = ""
    prefix: str = ""
    encoding: Encoding = "hex"
    signed: str = "{body}"
    fields: Mapping[str, SignedPlace] = field(default_factory=dict)
    timestamp: SignedPlace | None = None
    timestamp_format: TimeFormat = "unix_s"
    body_sha256: Place | None = None
    signs_body: bool = True
    when: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class Hmac(Signed):
    """An HMAC with one of the flow's secrets."""

    scheme: Literal["hmac"] = "hmac"
    algorithm: Algorithm = "sha256"
    key: KeyForm = "text"


@dataclass(frozen=True, kw_only=True)
class Ed25519(Signed):
    """A signature that one of the flow's secrets verifies; they are the sender's public keys."""

    scheme: Literal["ed25519"] = "ed25519"
    key: KeyForm = "hex"


@dataclass(frozen=True, kw_only=True)
class Certificate(Signed):
    """An RSA signature (PKCS #1 v1.5) by the key in an X.509 certificate that the sender publishes.

    All customers of the sender get valid signatures, so the flow's secrets say whose requests are accepted.

    Attributes:
        certificate: Place of the certificate's address.
        hosts: The hosts from which a certificate is accepted, by https on port 443. In a pattern such as
            `sns.eu-*-*.amazonaws.com`, `*` stands for letters and digits.
        algorithm: Hash function of the signature.
        algorithms: The hash function by the value at `version`, if the sender has several.
        version: Place of that value.
        secret: Place of the text that must be one of the flow's secrets; None if the template contains `{secret}`.
    """

    scheme: Literal["certificate"] = "certificate"
    certificate: Place
    hosts: tuple[str, ...]
    encoding: Encoding = "base64"
    algorithm: Algorithm = "sha256"
    algorithms: Mapping[str, Algorithm] = field(default_factory=dict)
    version: Place | None = None
    secret: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Token(Table):
    """One of the flow's secrets as it is, behind a prefix such as `Bearer `, whose letters may have either case."""

    scheme: Literal["token"] = "token"
    token: Place
    prefix: str = ""
    when: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class Basic(Table):
    """HTTP Basic authentication; a secret is written `user:password`."""

    scheme: Literal["basic"] = "basic"
    when: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class Proxied(Table):
    """The result of a check by the proxy in front, such as the name in a client certificate.

    The header counts only if the request comes from an address in `EVENTFLOW_COLLECTOR__TRUSTED_PROXIES`. Its value
    must be one of the flow's secrets.
    """

    scheme: Literal["proxied"] = "proxied"
    header: str
    when: Conditions = ()


Scheme = Annotated[Hmac | Ed25519 | Certificate | Token | Basic | Proxied, Discriminator("scheme")]
"""A way to authenticate a request."""


@dataclass(frozen=True, kw_only=True)
class Handshake(Table):
    """A request by which a sender checks the endpoint. It is answered at once, and nothing is published.

    In the answer, `{challenge}` and `{digest}` are replaced.

    Attributes:
        method: Of the request.
        when: All of these are fulfilled; otherwise the request is an event. A body above 64 KiB is one in any case.
        is_authenticated: Whether it must be authentic, as an event must; otherwise anyone may send it.
        verify_token: Place of a text that must be one of the flow's `VERIFY_TOKENS`.
        challenge: Place of the text that the sender wants to see again: printable characters, at most 1024. A request
            without it is no handshake.
        digest: Form of the HMAC of the challenge, with the flow's first secret; None if none is asked for. If
            anyone may send the handshake, the challenge has letters, digits and `_=+/-` only.
        digest_algorithm: Of that HMAC.
        visit: Place of an address that is fetched to confirm the subscription, if the flow's setting
            `CONFIRM_SUBSCRIPTIONS` allows it. A request without it is no handshake.
        visit_hosts: The hosts of that address; see `Certificate.hosts`.
        status: Of the answer; 204 has no body.
        text: Body of the answer as `text/plain`.
        json: Body of the answer as a JSON object, instead of `text`.
        headers: Headers of the answer.
    """

    method: Method = "POST"
    when: Conditions = ()
    is_authenticated: bool = False
    verify_token: Place | None = None
    challenge: Place | None = None
    digest: Literal["hex", "base64"] | None = None
    digest_algorithm: Algorithm = "sha256"
    visit: Place | None = None
    visit_hosts: tuple[str, ...] = ()
    status: Literal[200, 201, 202, 204] = 200
    text: str = ""
    json: Mapping[str, Scalar] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer(Table):
    """The answer to events that are stored.

    Attributes:
        status: 204 has no body.
        body: `json`: the id or ids of the events. `empty`: nothing.
        text: A fixed text instead, as `text/plain`.
    """

    status: Literal[200, 202, 204] = 202
    body: Literal["json", "empty"] = "json"
    text: str = ""


def _as_text(value: object) -> object:
    """Accept a single place in TOML where a `Text` can be written."""
    return {"parts": [value]} if isinstance(value, dict) and not _PLACES.isdisjoint(value) else value


Texts = Annotated[tuple[Annotated[Text, BeforeValidator(_as_text)], ...], BeforeValidator(_as_tuple)]
"""Several texts, of which the first that is present counts."""


@dataclass(frozen=True, kw_only=True)
class Sender(Table):
    """A sender of webhooks.

    Attributes:
        name: Its name in `EVENTFLOW_SOURCE__VERIFY`. In TOML it is the name of the table.
        title: Its name in prose.
        credential: The secret that a flow needs, and the place where the sender shows it, in prose.
        authentication: The schemes of which one must be fulfilled.
        handshakes: Requests that are not events. The first one that fits counts.
        answer: The answer to its events; the settings `ANSWER_*` of the flow go first.
        id: Places of an event's id. A request that is sent again has the same.
        type: Places of an event's type.
        source: Places of an event's source.
        subject: Places of an event's subject.
        time: Places of an event's time.
        is_known_by_headers: Whether those of these places that are headers count in every flow, because their names
            belong to this sender. Otherwise they count in flows that verify it.
    """

    name: str
    title: str
    credential: str = ""
    authentication: Annotated[tuple[Scheme, ...], BeforeValidator(_as_tuple)]
    handshakes: Annotated[tuple[Handshake, ...], BeforeValidator(_as_tuple)] = ()
    answer: Answer = Answer()
    id: Texts = ()
    type: Texts = ()
    source: Texts = ()
    subject: Texts = ()
    time: Annotated[tuple[Time, ...], BeforeValidator(_as_tuple)] = ()
    is_known_by_headers: bool = False

    @property
    def answers_strangers_with_digest(self) -> bool:
        """Whether anyone may ask for an HMAC."""
        return any(one.digest is not None and not one.is_authenticated for one in self.handshakes)
