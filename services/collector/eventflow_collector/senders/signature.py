"""Check that a request is signed with one of the flow's secrets, or by a key that one of them stands for. Pure.

Everything is computed over the bytes as received. A signature has one spelling (see `encoding`), and signatures are
compared as the bytes that they stand for. The duration of the comparison reveals nothing about the right one.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import repeat

from eventflow.event import parse_time
from eventflow.senders.keys import key_of
from eventflow.senders.vocabulary import Ed25519, Hmac, Signed, TimeFormat
from eventflow_collector.senders.encoding import decoder_of, from_hex
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request, text_finder
from eventflow_collector.senders.secret_text import is_one_of
from eventflow_collector.senders.signed_text import Items, WriteText, signed_finder, text_writers
from eventflow_collector.strict_json import has_repeated_name

SIGNATURES_MAX = 16
"""Most signatures in one request. A sender has one for each of its keys, and each costs a verification."""

SECONDS_MAX_DIGITS = 12

Verify = Callable[[Sequence[bytes], bytes], bool]
"""Returns whether one of the signatures is that of a text."""


class Envelope:
    """The signatures of a request, and the demands on it that do not depend on a key; prepared once for a flow.

    Opened for a request, it holds the items of the signature's header and the signatures among them.
    """

    def __init__(self, scheme: Signed, means: Means) -> None:
        """Prepare the places."""
        self._separator = scheme.separator or None
        self._may_have_blanks = scheme.separator not in {"", " "}
        self._prefix = scheme.prefix
        self._is_partly_signed = not scheme.signs_body
        self._decode = decoder_of(scheme.encoding)
        self._find = text_finder(scheme.signature)
        self._tolerance_s = means.tolerance_s
        self._find_timestamp = None if scheme.timestamp is None else signed_finder(scheme.timestamp)
        self._timestamp_format: TimeFormat = scheme.timestamp_format
        self._find_hash = None if scheme.body_sha256 is None else text_finder(scheme.body_sha256)

    def opened(self, request: Request, now: datetime) -> tuple[Items, Sequence[bytes]] | Flaw:
        """Return the items in the signature's header, and the signatures; or the reason why the request has none."""
        given = self._find(request)
        if given is None:
            return Flaw.MISSING
        items = [given] if self._separator is None else given.split(self._separator)
        if self._may_have_blanks and " " in given:
            items = [item.strip(" ") for item in items]
        if self._find_timestamp is not None:
            timestamp = self._find_timestamp(request, items)
            if (flaw := self._flaw_of_timestamp(timestamp, now)) is not None:
                return flaw
        if self._find_hash is not None and (flaw := _flaw_of_hash(self._find_hash(request), request.body)) is not None:
            return flaw
        # Of two members, the target might read the one that the signature does not cover.
        if self._is_partly_signed and has_repeated_name(request.body):
            return Flaw.MALFORMED
        prefix, decode = self._prefix, self._decode
        signatures = [
            signature
            for item in items
            if item.startswith(prefix) and (signature := decode(item[len(prefix) :])) is not None
        ]
        return Flaw.MALFORMED if len(signatures) > SIGNATURES_MAX else (items, signatures)

    def _flaw_of_timestamp(self, timestamp: str | None, now: datetime) -> Flaw | None:
        if timestamp is None:
            return Flaw.MISSING
        unix_s = _unix_s_of(timestamp, self._timestamp_format)
        if unix_s is None:
            return Flaw.MALFORMED
        return Flaw.STALE if abs(now.timestamp() - unix_s) > self._tolerance_s else None


class KeyedSignature:
    """The check of signatures by keys that the flow's secrets hold, prepared once for a flow."""

    def __init__(self, scheme: Hmac | Ed25519, means: Means) -> None:
        """Prepare the keys and the text that is signed."""
        self._envelope = Envelope(scheme, means)
        self._verify = tuple(_verifier_of(scheme, secret) for secret in means.secrets)
        writers = text_writers(scheme, means)
        self._write = writers[0]
        self._more: Sequence[WriteText] = writers[1:]

    def flaw_of(self, request: Request, now: datetime) -> Flaw | None:
        """Return the reason why no signature of a request was made with one of the secrets; None if one was."""
        opened = self._envelope.opened(request, now)
        if isinstance(opened, Flaw):
            return opened
        items, signatures = opened
        text = self._write(request, items)
        if text is None:
            return Flaw.MISSING
        texts = [text, *(write(request, items) or b"" for write in self._more)] if self._more else repeat(text)
        is_signed = False
        # All are verified, also after a match, so that the time does not show which secret it was.
        for verify, one in zip(self._verify, texts):  # noqa: B905 - one text may serve all
            is_signed |= verify(signatures, one)
        return None if is_signed else Flaw.MISMATCH


def _verifier_of(scheme: Hmac | Ed25519, secret: str) -> Verify:
    key = key_of(secret, scheme.key)
    if isinstance(scheme, Ed25519):
        from eventflow_collector.senders.public_key import ed25519_verifier  # noqa: PLC0415 - 60 ms and 10 MB

        return ed25519_verifier(key)
    # Copying a prepared HMAC takes half the time of `hmac.digest`, which looks up the algorithm each time.
    prepared = hmac.new(key, digestmod=scheme.algorithm)

    def verify(signatures: Sequence[bytes], text: bytes) -> bool:
        mac = prepared.copy()
        mac.update(text)
        return is_one_of(mac.digest(), signatures)

    return verify


def _unix_s_of(text: str, form: TimeFormat) -> float | None:
    """Return the time in a text; None if it is none."""
    if form == "rfc3339":
        moment = parse_time(text)
        return None if moment is None else moment.timestamp()
    max_digits = SECONDS_MAX_DIGITS if form == "unix_s" else SECONDS_MAX_DIGITS + 3
    if not (text.isascii() and text.isdecimal() and len(text) <= max_digits):
        return None
    return int(text) if form == "unix_s" else int(text) / 1000


def _flaw_of_hash(text: str | None, body: bytes) -> Flaw | None:
    """Return the reason why a text is not the hash of the body; None if it is."""
    if text is None:
        return Flaw.MISSING
    digest = from_hex(text) or b""
    return None if hmac.compare_digest(digest, hashlib.sha256(body).digest()) else Flaw.MISMATCH
