"""The comparison of bytes with secret ones. Pure."""

import hmac
from collections.abc import Iterable


def is_one_of(given: bytes, secrets: Iterable[bytes]) -> bool:
    """Whether `given` is one of the secrets. The duration of the comparison reveals nothing about the secrets."""
    # All are compared, also after a match, so that the time does not show which one it was.
    is_found = False
    for secret in secrets:
        is_found |= hmac.compare_digest(given, secret)
    return is_found
