"""Check that a request is signed with one of our secrets. Pure.

Everything is computed over the bytes as received. The signature is compared as it is written and not as it decodes, so
that no other spelling of it passes. How long the comparison takes does not depend on how much of it is right.
"""

import base64
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from string import Formatter

from eventflow.senders.vocabulary import Hmac, Item, SignedPlace
from eventflow.signing import header_bytes, signing_key
from eventflow_collector.senders.request import Request, text_finder

TIMESTAMP_MAX_DIGITS = 12


class Flaw(StrEnum):
    """Reasons of an invalid signature: for our metrics, never for the sender."""

    MISSING = "signature_missing"
    MALFORMED = "signature_malformed"
    STALE = "signature_stale"
    MISMATCH = "signature_mismatch"


class Verifier:
    """The signature check of one flow, prepared once so that a request costs little more than the hashing."""

    def __init__(self, signature: Hmac, *, secrets: Iterable[str], tolerance_s: float) -> None:
        """Prepare the keys and the text that is signed.

        Args:
            signature: The sender's form of signature.
            secrets: Each of them is valid, so that they can be rotated.
            tolerance_s: The most that a signed time may differ from now, in either direction.

        Raises:
            ValueError: A secret is not base64 although it must be.
        """
        decode = signing_key if signature.key == "whsec" else str.encode
        # Copying a prepared HMAC takes half the time of `hmac.digest`, which looks up the algorithm each time.
        self._macs = tuple(hmac.new(decode(secret), digestmod=signature.algorithm) for secret in secrets)
        self._signature = signature
        self._tolerance_s = tolerance_s
        self._segments = tuple(_segments(signature.signed))
        self._find_signature = text_finder(signature.signature)
        self._find_timestamp = None if signature.timestamp is None else _signed_finder(signature.timestamp)
        self._fields = tuple((name, _signed_finder(place)) for name, place in signature.fields.items())

    def flaw_of(self, request: Request, *, now: datetime) -> Flaw | None:
        """Return the reason why a request's signature is not valid; None if it was made with one of the secrets."""
        given = self._find_signature(request)
        if given is None:
            return Flaw.MISSING
        items = given.split(self._signature.separator) if self._signature.separator else [given]
        fields = {"body": request.body}
        for name, find in self._fields:
            if (value := find(request, items)) is None:
                return Flaw.MISSING
            fields[name] = header_bytes(value)
        if self._find_timestamp is not None:
            if (timestamp := self._find_timestamp(request, items)) is None:
                return Flaw.MISSING
            if (flaw := self._flaw_of_timestamp(timestamp, now)) is not None:
                return flaw
            fields["timestamp"] = timestamp.encode()
        return None if self._matches(items, fields) else Flaw.MISMATCH

    def _flaw_of_timestamp(self, timestamp: str, now: datetime) -> Flaw | None:
        if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= TIMESTAMP_MAX_DIGITS):
            return Flaw.MALFORMED
        return Flaw.STALE if abs(now.timestamp() - int(timestamp)) > self._tolerance_s else None

    def _matches(self, items: Iterable[str], fields: Mapping[str, bytes]) -> bool:
        signed = b"".join([fields[part] if isinstance(part, str) else part for part in self._segments])
        expected = [self._sign(mac, signed) for mac in self._macs]
        given = [header_bytes(item) for item in items]
        # Every pair is compared, also after a match, so that the time does not show which secret has made it.
        matches = [hmac.compare_digest(one, other) for one in given for other in expected]
        return any(matches)

    def _sign(self, mac: hmac.HMAC, signed: bytes) -> bytes:
        signature = self._signature
        mac = mac.copy()
        mac.update(signed)
        digest = mac.digest()
        written = digest.hex() if signature.encoding == "hex" else base64.b64encode(digest).decode()
        return f"{signature.prefix}{written}".encode()


def _signed_finder(place: SignedPlace) -> Callable[[Request, Iterable[str]], str | None]:
    """Prepare to find a signed text in a request, or among the items beside its signature."""
    if isinstance(place, Item):
        prefix = place.item
        return lambda _, items: next((item.removeprefix(prefix) for item in items if item.startswith(prefix)), "")
    find = text_finder(place)
    return lambda request, _: find(request)


def _segments(template: str) -> Iterator[bytes | str]:
    """Split a template such as `{timestamp}.{body}` into constant bytes and the names of fields."""
    for constant, field, _, _ in Formatter().parse(template):
        if constant:
            yield constant.encode()
        if field is not None:
            yield field
