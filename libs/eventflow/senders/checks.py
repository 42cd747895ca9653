"""Checks of a sender's description, beyond the types of its parts. Pure."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass

from eventflow.http_token import is_token
from eventflow.json_pointer import is_pointer
from eventflow.senders.handshake_checks import problems_of_handshakes
from eventflow.senders.hosts import check_host_pattern
from eventflow.senders.template import fields_in, parse_template
from eventflow.senders.vocabulary import (
    Certificate,
    Ed25519,
    FirstMember,
    FormField,
    Header,
    Hmac,
    Item,
    Place,
    Pointer,
    Proxied,
    Query,
    Scheme,
    Sender,
    Signed,
    SignedPlace,
)

URL = "url"
SECRET = "secret"  # noqa: S105 - the name of a field
TIMESTAMP = "timestamp"

BODY_FIELDS = frozenset({"body", "body_sha256", "body_crc32", "form"})
"""Fields of a template that stand for the whole body."""

KNOWN_FIELDS = BODY_FIELDS | {URL, "method", TIMESTAMP, SECRET}
"""Fields of a template that need no place."""

_BODY_EXPECTED = (
    "it does not contain the body, so anyone who has seen one request could send another body; if the sender signs no "
    "more than this, write signs_body = false"
)
_SECRET_EXPECTED = (
    f"a place for one of the flow's secrets is expected here, or {{{SECRET}}} in the template, because the sender "
    "signs for all its customers with one key"
)
_MIXED = (
    "the secrets of a scheme with a public key are public, and another scheme would accept them as its own; put the "
    "schemes into senders of their own, or write the public keys as whpk and the others as hex, base64 or whsec"
)
_HEADER_EXPECTED = "the name of a header is expected: letters, digits and hyphens"


def problems_in(sender: Sender) -> Iterator[str]:
    """Yield each part of a description that cannot work, by its path, with the accepted form."""
    yield from _problems_of_places(sender)
    if not sender.authentication:
        yield "authentication: at least one scheme is expected"
    for index, scheme in enumerate(sender.authentication):
        path = f"authentication.{index}"
        if isinstance(scheme, Signed):
            for key, problem in _problems_of_signed(scheme):
                yield f"{path}.{key}: {problem}"
        if isinstance(scheme, Proxied) and not is_token(scheme.header):
            yield f"{path}.header: {_HEADER_EXPECTED}"
        if isinstance(scheme, Certificate):
            yield from (f"{path}.hosts: {problem}" for problem in _problems_of_hosts(scheme.hosts))
    yield from _problems_of_mixed_secrets(sender.authentication)
    yield from problems_of_handshakes(sender)
    for index, handshake in enumerate(sender.handshakes):
        if handshake.visit is not None:
            yield from (
                f"handshakes.{index}.visit_hosts: {problem}" for problem in _problems_of_hosts(handshake.visit_hosts)
            )


def _problems_of_places(sender: Sender) -> Iterator[str]:
    for path, place in _places_in(sender):
        match place:
            case Header(header=name) if not is_token(name):
                yield f"{path}: {_HEADER_EXPECTED}"
            case Pointer(pointer=pointer) if not is_pointer(pointer):
                yield f"{path}: a JSON pointer such as /data/id is expected, in which ~ is written ~0"
            case Pointer(pointer=pointer) if "*" in pointer.split("/") and not path.endswith(".token"):
                yield f"{path}: a step * is accepted in a token only"
            case Item(item=""):
                yield f"{path}: the prefix of an item is expected, such as t="


def _places_in(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every place in a description, with its path."""
    if isinstance(value, Header | Pointer | Item):
        yield path, value
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            yield from _places_in(part, f"{path}.{index}")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _places_in(part, f"{path}.{key}")
    elif is_dataclass(value):
        for field in fields(value):
            inner = f"{path}.{field.name}" if path else field.name
            yield from _places_in(getattr(value, field.name), inner)


def _problems_of_signed(scheme: Signed) -> Iterator[tuple[str, str]]:
    try:
        parts = parse_template(scheme.signed)
    except ValueError as error:
        yield "signed", str(error)
        return
    required = {name for name, is_optional in fields_in(parts) if not is_optional}
    optional = {name for name, is_optional in fields_in(parts) if is_optional}
    yield from _problems_of_fields(scheme, required | optional)
    if SECRET in optional:
        yield "signed", f"{{{SECRET}}} is never absent; write it outside of [brackets]"
    if isinstance(scheme, Certificate) and scheme.secret is None and SECRET not in required:
        yield "secret", _SECRET_EXPECTED
    if scheme.body_sha256 is not None:
        if not _is_signed(scheme.body_sha256, scheme, required):
            yield "body_sha256", "the hash itself must be signed: its place must be one of fields, or in a signed {url}"
    elif scheme.signs_body and required.isdisjoint(BODY_FIELDS):
        yield "signed", _BODY_EXPECTED


def _is_signed(place: Place, scheme: Signed, required: Set[str]) -> bool:
    if isinstance(place, Query) and URL in required:
        return True
    return any(place == other for name, other in scheme.fields.items() if name in required)


def _is_in_signed_body(place: SignedPlace, used: Set[str]) -> bool:
    return isinstance(place, Pointer | FirstMember | FormField) and not used.isdisjoint(BODY_FIELDS)


def _problems_of_fields(scheme: Signed, used: Set[str]) -> Iterator[tuple[str, str]]:
    for name in sorted(used - scheme.fields.keys() - KNOWN_FIELDS):
        yield "signed", f"{{{name}}} is neither one of {', '.join(sorted(KNOWN_FIELDS))} nor in fields"
    for name in sorted(scheme.fields.keys() & KNOWN_FIELDS):
        yield "fields", f"{name} has a meaning of its own; choose another name"
    for name in sorted(scheme.fields.keys() - used):
        yield "fields", f"{name} is not in the template"
    if (scheme.timestamp is None) and TIMESTAMP in used:
        yield "timestamp", f"a place is expected, because {{{TIMESTAMP}}} is in the template"
    if scheme.timestamp is not None and TIMESTAMP not in used and not _is_in_signed_body(scheme.timestamp, used):
        yield "timestamp", f"the time must be signed: write {{{TIMESTAMP}}} into the template, or leave the place out"
    if not scheme.separator and any(isinstance(place, Item) for place in (*scheme.fields.values(), scheme.timestamp)):
        yield "separator", "it is needed, because a place is an item beside the signature"


def _problems_of_mixed_secrets(schemes: Sequence[Scheme]) -> Iterator[str]:
    """Yield a problem if a secret that is public in one scheme could authenticate a request by another one."""
    public = [scheme for scheme in schemes if isinstance(scheme, Ed25519 | Certificate)]
    private = [scheme for scheme in schemes if not isinstance(scheme, Ed25519 | Certificate)]
    if any(not _differ_in_form(one, other) for one in public for other in private):
        yield f"authentication: {_MIXED}"


def _differ_in_form(public: Scheme, private: Scheme) -> bool:
    """Whether a public key is never a secret of the other scheme. Only `whpk_` cannot be part of hex or base64."""
    return isinstance(public, Ed25519) and public.key == "whpk" and isinstance(private, Hmac) and private.key != "text"


def _problems_of_hosts(patterns: Sequence[str]) -> Iterator[str]:
    if not patterns:
        yield "at least one host is expected"
    for pattern in patterns:
        try:
            check_host_pattern(pattern)
        except ValueError as error:
            yield str(error)


def signs_address(sender: Sender) -> bool:
    """Return True if a signature of a sender covers the address of the request."""
    return any(
        isinstance(scheme, Signed) and URL in dict(fields_in(parse_template(scheme.signed)))
        for scheme in sender.authentication
    )


def needs_proxy(sender: Sender) -> bool:
    """Return True if one of the schemes is the check of a proxy in front."""
    return any(isinstance(scheme, Proxied) for scheme in sender.authentication)
