"""Handshakes: requests by which a sender checks the endpoint, recognized and answered. Pure.

Only the flow's own sender gives a flow handshakes. A stranger can cause no more than the answer to its own request: an
address is visited only for an authentic request, and a text is reflected as plain text, as JSON or in a header.
"""

import base64
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eventflow.senders.vocabulary import Handshake, Place, Sender
from eventflow.signing import header_bytes
from eventflow_collector.head import Head
from eventflow_collector.senders.conditions import all_fulfilled, is_in_head
from eventflow_collector.senders.request import Request, text_finder
from eventflow_collector.senders.secret_text import is_one_of

CHALLENGE_MAX = 1024
BODY_MAX_BYTES = 64 * 1024
"""Largest body of a handshake, since the body of a stranger may have to be parsed. Senders need far less."""

_SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_TEXT_HEADERS = {"Content-Type": "text/plain; charset=utf-8", **_SAFE_HEADERS}
_JSON_HEADERS = {"Content-Type": "application/json; charset=utf-8", **_SAFE_HEADERS}

_REPLACED = re.compile(r"\{(challenge|digest)\}")

_TOKEN = re.compile(r"[A-Za-z0-9_=+/-]*")
"""Texts of which a stranger may obtain an HMAC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a handshake."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """An address that must be fetched before a reply.

    Attributes:
        url: As the sender has sent it, and not yet checked.
        hosts: Patterns of the hosts where it may be.
        reply: The answer after the visit has succeeded.
    """

    url: str
    hosts: Sequence[str]
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A handshake that is not answered as the sender wishes, with the status and the detail for it."""

    status: int
    detail: str


_WRONG_TOKEN = Refused(status=403, detail="The verify token is not one of those that the flow has.")
_UNWANTED = Refused(status=403, detail="The flow does not confirm subscriptions.")
_WRONG_CHALLENGE = Refused(
    status=400, detail=f"The challenge must have 1 to {CHALLENGE_MAX} characters that can be sent back."
)


class PreparedHandshake:
    """One handshake of a flow, prepared once."""

    def __init__(
        self, handshake: Handshake, *, secrets: Sequence[bytes], verify_tokens: Sequence[bytes], may_visit: bool
    ) -> None:
        """Prepare the conditions and the answer."""
        self.is_authenticated = handshake.is_authenticated
        self._handshake = handshake
        self._secrets = secrets
        self._verify_tokens = verify_tokens
        self._may_visit = may_visit
        self._is_fulfilled = all_fulfilled(handshake.when)
        self._is_fulfilled_by_head = all_fulfilled(one for one in handshake.when if is_in_head(one.place))
        self._find_token = _optional_finder(handshake.verify_token)
        self._find_challenge = _optional_finder(handshake.challenge)
        self._find_url = _optional_finder(handshake.visit)
        is_signed_for_strangers = handshake.digest is not None and not handshake.is_authenticated
        self._is_accepted = (
            _is_token if is_signed_for_strangers else _is_ascii if handshake.headers else str.isprintable
        )

    def fits(self, request: Request) -> bool:
        """Whether a request is this handshake."""
        return (
            len(request.body) <= BODY_MAX_BYTES
            and self._is_fulfilled(request)
            and all(bool(find(request)) for find in (self._find_challenge, self._find_url) if find is not None)
        )

    def may_fit(self, request: Request) -> bool:
        """Whether a request whose body is still to come may be this handshake."""
        return self._is_fulfilled_by_head(request)

    def answer(self, request: Request) -> Reply | Visit | Refused:
        """Answer a request that fits. If the handshake must be authentic, the request is."""
        if self._find_token is not None:
            given = header_bytes(self._find_token(request) or "")
            if not is_one_of(given, self._verify_tokens):
                return _WRONG_TOKEN
        challenge = "" if self._find_challenge is None else self._find_challenge(request) or ""
        if self._find_challenge is not None and not (len(challenge) <= CHALLENGE_MAX and self._is_accepted(challenge)):
            return _WRONG_CHALLENGE
        reply = self._reply(challenge)
        if self._find_url is None:
            return reply
        if not self._may_visit:
            return _UNWANTED
        return Visit(url=self._find_url(request) or "", hosts=self._handshake.visit_hosts, reply=reply)

    def _reply(self, challenge: str) -> Reply:
        handshake = self._handshake
        texts = {"challenge": challenge, "digest": self._digest_of(challenge)}

        def filled(template: str) -> str:
            # In one pass, so that a challenge is never a template itself.
            return _REPLACED.sub(lambda name: texts[name[1]], template)

        headers = {name: filled(value) for name, value in handshake.headers.items()}
        if handshake.status == 204:
            return Reply(status=204, headers={**_SAFE_HEADERS, **headers}, body=b"")
        if handshake.json is None:
            return Reply(
                status=handshake.status, headers={**_TEXT_HEADERS, **headers}, body=filled(handshake.text).encode()
            )
        document = {name: filled(value) if isinstance(value, str) else value for name, value in handshake.json.items()}
        return Reply(status=handshake.status, headers={**_JSON_HEADERS, **headers}, body=json.dumps(document).encode())

    def _digest_of(self, challenge: str) -> str:
        form = self._handshake.digest
        if form is None:
            return ""
        digest = hmac.digest(self._secrets[0], challenge.encode(), self._handshake.digest_algorithm)
        return digest.hex() if form == "hex" else base64.b64encode(digest).decode()


class Handshakes:
    """The handshakes of one flow. The first one that fits a request counts.

    Attributes:
        methods: Of all of them.
    """

    def __init__(
        self, sender: Sender, *, secrets: Iterable[str], verify_tokens: Iterable[str], may_visit: bool
    ) -> None:
        """Prepare the handshakes of a sender.

        Args:
            sender: Of the flow.
            secrets: Of the flow; a digest is made with the first.
            verify_tokens: Texts that are accepted as a verify token.
            may_visit: Whether addresses are fetched to confirm subscriptions.
        """
        keys, tokens = [one.encode() for one in secrets], [one.encode() for one in verify_tokens]
        by_method: defaultdict[str, list[PreparedHandshake]] = defaultdict(list)
        for one in sender.handshakes:
            prepared = PreparedHandshake(one, secrets=keys, verify_tokens=tokens, may_visit=may_visit)
            by_method[one.method].append(prepared)
        self._by_method = dict(by_method)
        self.methods = frozenset(by_method)
        self._signs_for_strangers = sender.answers_strangers_with_digest

    def fitting(self, request: Request) -> PreparedHandshake | None:
        """Return the handshake that a request is; None if it is none."""
        return next((one for one in self._by_method.get(request.head.method, ()) if one.fits(request)), None)

    def may_begin_with(self, head: Head) -> bool:
        """Whether a request with this head may be a handshake that needs no authentication."""
        request = Request(head, b"")
        return any(not one.is_authenticated and one.may_fit(request) for one in self._by_method.get(head.method, ()))

    def may_have_signed(self, body: bytes) -> bool:
        """Whether a stranger could have obtained the signature of an event with this body by a handshake."""
        return self._signs_for_strangers and _TOKEN.fullmatch(body.decode("latin-1")) is not None


def _optional_finder(place: Place | None) -> Callable[[Request], str | None] | None:
    return None if place is None else text_finder(place)


def _is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def _is_ascii(text: str) -> bool:
    """Whether a header can carry a text."""
    return text.isascii() and text.isprintable() and text.strip() == text
