"""Reasons for which a request is not authentic. Pure."""

from enum import StrEnum


class Flaw(StrEnum):
    """A closed set, for our metrics and logs; never shown to the sender."""

    MISSING = "signature_missing"
    MALFORMED = "signature_malformed"
    STALE = "signature_stale"
    MISMATCH = "signature_mismatch"
    NO_TOKEN = "token_missing"  # noqa: S105 - a reason
    WRONG_TOKEN = "token_mismatch"  # noqa: S105 - a reason
    UNTRUSTED_PROXY = "proxy_untrusted"
    UNTRUSTED_CERTIFICATE = "certificate_untrusted"
    NO_CERTIFICATE = "certificate_unavailable"
    """The only flaw of ours: the certificate could not be fetched, so the sender is asked to repeat the request."""
