"""Check that a request is signed with the key of a certificate that its sender publishes. Pure.

The host of the certificate is pinned, and TLS proves that the document comes from there. So the chain behind the
certificate is not checked (ADR 35); its dates are.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from eventflow.senders.hosts import is_pinned
from eventflow.senders.vocabulary import Algorithm, Certificate
from eventflow.signing import header_bytes
from eventflow_collector.senders.certificates import Awaited
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request, text_finder
from eventflow_collector.senders.secret_text import is_one_of
from eventflow_collector.senders.signature import Envelope
from eventflow_collector.senders.signed_text import Items, text_writers


class _Claim(NamedTuple):
    """The parts of a request that its certificate must confirm."""

    items: Items
    signatures: Sequence[bytes]
    address: str
    algorithm: Algorithm


class CertificateSignature:
    """The check of signatures by published certificates, prepared once for a flow."""

    def __init__(self, scheme: Certificate, means: Means) -> None:
        """Prepare the places and the text that is signed."""
        self._scheme = scheme
        self._certificates = means.certificates
        self._secrets = [secret.encode() for secret in means.secrets]
        self._envelope = Envelope(scheme, means)
        self._writers = text_writers(scheme, means)
        self._find_address = text_finder(scheme.certificate)
        self._find_version = None if scheme.version is None else text_finder(scheme.version)
        self._find_secret = None if scheme.secret is None else text_finder(scheme.secret)

    def awaited(self, request: Request, now: datetime) -> Awaited | None:
        """Return the certificate that must be fetched before a request can be verified; None if there is none.

        A request that is wrong anyway causes no fetch.
        """
        claim = self._claim_of(request, now)
        if isinstance(claim, Flaw) or self._certificates.is_known(claim.address, now):
            return None
        return Awaited(claim.address, self._scheme.hosts)

    def flaw_of(self, request: Request, now: datetime) -> Flaw | None:
        """Return the reason why no signature of a request was made for one of the secrets; None if one was."""
        claim = self._claim_of(request, now)
        if isinstance(claim, Flaw):
            return claim
        key = self._certificates.key_at(claim.address, now)
        if key is None:
            return Flaw.NO_CERTIFICATE
        if not key.valid_from <= now <= key.valid_until:
            return Flaw.UNTRUSTED_CERTIFICATE
        texts = [text for write in self._writers if (text := write(request, claim.items)) is not None]
        is_right = any(key.verifies(one, text, claim.algorithm) for text in texts for one in claim.signatures)
        return None if is_right else Flaw.MISMATCH

    def _claim_of(self, request: Request, now: datetime) -> "_Claim | Flaw":
        """Check everything for which the certificate is not needed."""
        opened = self._envelope.opened(request, now)
        if isinstance(opened, Flaw):
            return opened
        items, signatures = opened
        address, algorithm = self._find_address(request), self._algorithm_of(request)
        if address is None or algorithm is None:
            return Flaw.MISSING
        if not (signatures and self._is_for_us(request)):
            return Flaw.MISMATCH
        # With a query, one certificate would have any number of addresses.
        if "?" in address or not is_pinned(address, self._scheme.hosts):
            return Flaw.UNTRUSTED_CERTIFICATE
        return _Claim(items, signatures, address, algorithm)

    def _is_for_us(self, request: Request) -> bool:
        """Whether the request has one of the flow's secrets; a secret in the signed text is checked with it."""
        if self._find_secret is None:
            return True
        given = self._find_secret(request)
        return given is not None and is_one_of(header_bytes(given), self._secrets)

    def _algorithm_of(self, request: Request) -> Algorithm | None:
        if self._find_version is None:
            return self._scheme.algorithm
        return self._scheme.algorithms.get(self._find_version(request) or "")
