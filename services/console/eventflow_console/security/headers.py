"""Headers of every answer, which forbid a browser to run or load anything that is not the console's own. Pure."""

from types import MappingProxyType
from typing import Final

from multidict import MutableMultiMapping

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

ALWAYS: Final = MappingProxyType(
    {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        # Other sites see no address of a page, as with `no-referrer`. But that one makes browsers send `Origin: null`
        # with our own forms too, and over plain HTTP nothing else shows that a form is ours.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Server": "event-flow",
    }
)


def harden(headers: MutableMultiMapping[str]) -> None:
    """Add the headers to those of an answer. Only a static file, which names its content, may be kept."""
    for name, value in ALWAYS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
