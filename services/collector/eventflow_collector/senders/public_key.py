"""Signatures that a public key verifies, by the library `cryptography`. Pure.

Imported only by flows that need it, because the library takes 60 ms and 10 MB.
"""

from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


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
