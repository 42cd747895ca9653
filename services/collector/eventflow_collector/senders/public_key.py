"""Signatures that a public key verifies, by the library `cryptography`. Pure.

Imported only by flows that need it, because the library takes 60 ms and 10 MB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from eventflow.senders.vocabulary import Algorithm

RSA_MIN_BITS = 2048
RSA_MAX_BITS = 8192

_HASHES: dict[Algorithm, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - SNS signs with it unless a topic is configured otherwise
    "sha256": hashes.SHA256(),
    "sha512": hashes.SHA512(),
}


def ed25519_verifier(key: bytes) -> Callable[[Sequence[bytes], bytes], bool]:
    """Return the function that verifies signatures of a text by a public key of 32 bytes."""
    public_key = Ed25519PublicKey.from_public_bytes(key)

    def is_right(signature: bytes, text: bytes) -> bool:
        try:
            public_key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return lambda signatures, text: any(is_right(signature, text) for signature in signatures)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """The RSA key in a certificate, and the time in which it is valid."""

    key: RSAPublicKey
    valid_from: datetime
    valid_until: datetime

    def verifies(self, signature: bytes, text: bytes, algorithm: Algorithm) -> bool:
        """Return True if a signature (PKCS #1 v1.5) is that of a text."""
        try:
            self.key.verify(signature, text, PKCS1v15(), _HASHES[algorithm])
        except InvalidSignature:
            return False
        return True


def published_key_in(document: bytes) -> PublishedKey | None:
    """Return the key in the first certificate of a PEM document; None if there is none that can be used."""
    try:
        certificate = x509.load_pem_x509_certificate(document)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPublicKey) or not RSA_MIN_BITS <= key.key_size <= RSA_MAX_BITS:
        return None
    return PublishedKey(
        key=key, valid_from=certificate.not_valid_before_utc, valid_until=certificate.not_valid_after_utc
    )
