"""Causes of failed connections to a target: one word for each cause with a remedy of its own. Pure."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from eventflow.excerpt import excerpt_of

NOT_RESOLVED: Final = "not_resolved"
CONNECT_TIMEOUT: Final = "connect_timeout"
PLAIN_ON_TLS_PORT: Final = "plain_on_tls_port"
TLS_ON_PLAIN_PORT: Final = "tls_on_plain_port"
CLOSED: Final = "closed"
HEADERS_TIMEOUT: Final = "headers_timeout"
BODY_TIMEOUT: Final = "body_timeout"
BAD_ANSWER: Final = "bad_answer"
CUT_OFF: Final = "cut_off"
TLS_FAILED: Final = "tls_failed"
RESET: Final = "reset"
PROXY_UNREACHABLE: Final = "proxy_unreachable"
PROXY_REFUSED: Final = "proxy_refused"
NO_TOKEN: Final = "no_token"  # noqa: S105 - a word for a failure
NO_DATABASE: Final = "no_database"
OTHER: Final = "other"

MEANINGS: Final = {
    NOT_RESOLVED: "its name has no address, or no name server answered",
    "no_listener": "nothing listens on its port",
    "unreachable": "there is no route to its address",
    CONNECT_TIMEOUT: "no connection in time",
    "certificate_expired": "its certificate has expired",
    "certificate_not_yet_valid": "its certificate is not valid yet",
    "certificate_other_name": "its certificate is for another name",
    "certificate_unknown_ca": "its certificate is of a CA that is not trusted here, or lacks an intermediate one",
    "certificate_invalid": "its certificate is not valid",
    TLS_ON_PLAIN_PORT: "its port does not speak TLS, but the URL begins with https:",
    PLAIN_ON_TLS_PORT: "its port speaks TLS, but the URL begins with http:",
    TLS_FAILED: "TLS failed",
    RESET: "the connection was reset",
    CLOSED: "the connection was closed before an answer",
    HEADERS_TIMEOUT: "no complete head of an answer in time",
    BODY_TIMEOUT: "the body of the answer did not end in time",
    BAD_ANSWER: "the answer is not HTTP",
    CUT_OFF: "the answer was cut off",
    PROXY_UNREACHABLE: "there is no connection to the proxy",
    PROXY_REFUSED: "the proxy opens no connection to the target",
    NO_TOKEN: "no access token could be fetched",
    NO_DATABASE: "the database of the handler cannot be used",
    OTHER: "another error of the network",
}
"""All words, each with its meaning for people."""

OF_NO_EVENT: Final = frozenset({PROXY_UNREACHABLE, PROXY_REFUSED, NO_TOKEN, NO_DATABASE})
"""Failures on the way to the target in which no event can have a part."""


class ProxyError(OSError):
    """A failure of the proxy in front of a target. `detail` is the word for it."""

    def __init__(self, detail: str, text: str) -> None:
        super().__init__(text)
        self.detail = detail


_CERTIFICATE: Final = {  # X509_V_ERR_*
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    62: "certificate_other_name",
    64: "certificate_other_name",  # for an IP address
    2: "certificate_unknown_ca",
    18: "certificate_unknown_ca",  # signed by itself
    19: "certificate_unknown_ca",
    20: "certificate_unknown_ca",
    21: "certificate_unknown_ca",
}
_NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
)
"""OpenSSL's reasons for bytes that are not a TLS record."""

_BY_ERRNO: Final = {  # the most useful first, for several addresses with different errors: those with an answer
    errno.ECONNREFUSED: "no_listener",
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.ECONNABORTED: RESET,
    errno.ETIMEDOUT: CONNECT_TIMEOUT,
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
}
_ERRNO_IN_TEXT: Final = re.compile(r"\[Errno (\d+)\]")


def explained(detail: str) -> str:
    """Return a word with its meaning: `no_listener: nothing listens on its port`. A later version may have more."""
    return f"{detail}: {MEANINGS[detail]}" if detail in MEANINGS else detail


def detail_of(error: BaseException) -> str:
    """Return the word for an error of a lookup, a connect or a TLS handshake, or for an error that wraps one."""
    return next((word for each in _from_its_root(error) if (word := _word_of(each)) is not None), OTHER)


def text_of(error: BaseException) -> str | None:
    """Return the message of an error in one line, such as "certificate has expired"; None if it has none.

    Of wrapped errors the one that decides the detail counts, because it is the most specific.
    """
    deciding = next((each for each in _from_its_root(error) if _word_of(each) is not None), error)
    match deciding:
        case ssl.SSLCertVerificationError():
            return excerpt_of(getattr(deciding, "verify_message", None) or str(deciding))
        case OSError(strerror=str() as message):  # without the number, which a reader cannot interpret
            return excerpt_of(message)
    return excerpt_of(str(deciding))


def is_answer_in_tls(error: OSError) -> bool:
    """Whether a TLS handshake failed by an answer in TLS, such as an alert."""
    ended = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return isinstance(error, ssl.SSLError) and not ended and detail_of(error) != TLS_ON_PLAIN_PORT


def _from_its_root(error: BaseException) -> Iterator[BaseException]:
    """Return an error and those that it wraps, the innermost first: it has details that aiohttp's errors lack."""
    if error.__cause__ is not None:
        yield from _from_its_root(error.__cause__)
    yield error


def _word_of(error: BaseException) -> str | None:
    match error:
        case ProxyError(detail=detail):
            return detail
        case ssl.SSLError():
            return _word_of_tls(error)
        case socket.gaierror():
            return NOT_RESOLVED
        case TimeoutError():
            return CONNECT_TIMEOUT
        case OSError():
            # aiohappyeyeballs puts different errors of several addresses into one text.
            numbers = {error.errno, *map(int, _ERRNO_IN_TEXT.findall(str(error)))}
            by_number = next((word for number, word in _BY_ERRNO.items() if number in numbers), None)
            return by_number or (TLS_FAILED if isinstance(error, ConnectionError) else None)  # asyncio, in a handshake
        case _:
            return None


def _word_of_tls(error: ssl.SSLError) -> str:  # only errors that `ssl` itself has raised have all its attributes
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(getattr(error, "verify_code", 0), "certificate_invalid")
    return TLS_ON_PLAIN_PORT if getattr(error, "reason", None) in _NO_TLS else TLS_FAILED
