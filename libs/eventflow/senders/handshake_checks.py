"""Checks of the handshakes in a sender's description, beyond the types of their parts. Pure."""

from collections.abc import Iterator

from eventflow.http_token import is_token
from eventflow.senders.vocabulary import Handshake, Hmac, Sender

EVENT_METHODS = frozenset({"POST", "PUT"})
"""Methods that a handshake may share with events."""

_OUR_HEADERS = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "location",
        "server",
        "set-cookie",
        "transfer-encoding",
        "upgrade",
        "x-content-type-options",
    }
)
"""Headers that every answer has, and those that would give an answer to a stranger another meaning."""


def problems_of_handshakes(sender: Sender) -> Iterator[str]:
    """Yield each part of a sender's handshakes that cannot work, or is not safe, by its path."""
    for index, handshake in enumerate(sender.handshakes):
        for problem in _problems_of(handshake):
            yield f"handshakes.{index}: {problem}"
    if sender.answers_strangers_with_digest and not _is_body_signed(sender):
        yield (
            "handshakes: a digest that is not authenticated could be the signature of an event; write "
            "is_authenticated = true, or put {body} into the text that each hmac signs"
        )


def _problems_of(handshake: Handshake) -> Iterator[str]:
    if handshake.method in EVENT_METHODS and not (handshake.when or handshake.challenge or handshake.visit):
        yield "when or challenge is expected, because every event would be this handshake otherwise"
    if handshake.digest is not None and handshake.challenge is None:
        yield "challenge is expected, because there is a digest"
    if handshake.visit is not None and not handshake.is_authenticated:
        yield "is_authenticated = true is expected, because a visit is made"
    if handshake.json is not None and handshake.text:
        yield "text and json cannot be set together"
    if handshake.status == 204 and (handshake.json is not None or handshake.text):
        yield "an answer with status 204 has no body, so text and json cannot be set"
    for name, value in handshake.headers.items():
        if not is_token(name) or name.lower() in _OUR_HEADERS:
            yield f"headers: {name!r} cannot be a header of the answer"
        if not (value.isascii() and value.isprintable() and value.strip() == value):
            yield f"headers.{name}: printable ASCII is expected, without white space around it"


def _is_body_signed(sender: Sender) -> bool:
    """Whether an HMAC of an event contains the body as it is.

    Then no HMAC of a challenge is the one of an event: a challenge that anyone may send has a small alphabet, and the
    collector refuses an event whose body has no other characters.
    """
    return all("{body}" in scheme.signed for scheme in sender.authentication if isinstance(scheme, Hmac))
