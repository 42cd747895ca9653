"""The comparison of a given text with secrets. Pure."""

import hmac
from collections.abc import Iterable


def is_one_of(given: bytes, secrets: Iterable[bytes]) -> bool:
    """Whether a text is one of the secrets. The duration of the comparison reveals nothing about the secrets."""
    # All are compared, also after a match, so that the time does not show which one it was.
    matches = [hmac.compare_digest(given, secret) for secret in secrets]
    return any(matches)
