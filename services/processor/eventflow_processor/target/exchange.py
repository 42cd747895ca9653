"""Exchange: one request and its answer, as its connection sees them, and the failures that follow from these facts."""

import errno
import socket
from dataclasses import dataclass
from typing import Any

from eventflow.network.failure import CONNECT_TIMEOUT, HEADERS_TIMEOUT, NOT_RESOLVED
from eventflow_processor.target.result import AttemptNotMadeError, Failed

HEAD_MAX_BYTES = 256 * 1024
"""Limit for all heads of an answer together, interim ones too, as in Chrome. Longer heads are an error."""

TLS_ALERT = b"\x15\x03"
"""First bytes of the answer of a TLS port to a request without TLS."""

_OUR_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its answer.

    Attributes:
        wants_new: Whether the request must not be sent on a kept connection.
        is_resolving: Whether it waits for the addresses of the target's name.
        is_sent: Whether there is a connection, so that the request is sent.
        is_kept: Whether the connection has carried a request before this one.
        is_answered: Whether a byte of the answer has arrived.
        speaks_tls: Whether the bytes in place of an answer are TLS.
        closes: Whether the answer's head ends the connection.
        lacks_descriptor: Whether no socket could be created because this process or machine has no free descriptor.
        unreadable: The first bytes in place of an answer, if they are not HTTP; kept by aiohttp's client only.
    """

    wants_new: bool = False
    is_resolving: bool = False
    is_sent: bool = False
    is_kept: bool = False
    is_answered: bool = False
    speaks_tls: bool = False
    closes: bool = False
    lacks_descriptor: bool = False
    unreadable: bytes | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the end of the connection is no failure: it was kept, and has not carried a byte of the answer."""
        return self.is_kept and not self.is_answered

    def is_unheard(self, status: int) -> bool:
        """Whether an answer is none to this request: the target gave up waiting just before the request arrived."""
        return status == 408 and self.is_kept and self.closes

    def make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Create a socket for a connection, and note if there is no descriptor for it."""
        family, kind, protocol, _, _ = address
        try:
            return socket.socket(family=family, type=kind, proto=protocol)
        except OSError as error:
            if error.errno in _OUR_ERRNOS:
                self.lacks_descriptor = True
            raise

    def late(self) -> Failed:
        """Return the failure of an exchange that has met its deadline."""
        detail = HEADERS_TIMEOUT if self.is_sent else NOT_RESOLVED if self.is_resolving else CONNECT_TIMEOUT
        return Failed(reason="timeout", detail=detail, reached=self.is_sent, answered=self.is_answered)

    def broken(self, detail: str, *, text: str | None = None) -> Failed:
        """Return the failure of an exchange that an error has ended.

        Args:
            detail: The word for the cause.
            text: The message of the error, or the bytes in place of an answer.

        Raises:
            AttemptNotMadeError: We had no file descriptor for the connection, or for resolving the name.
        """
        if self.lacks_descriptor and not self.is_sent:  # with a second address, a later connection may have got one
            raise AttemptNotMadeError("no file descriptor is left for a connection")
        return Failed(reason="connection", detail=detail, text=text, reached=self.is_sent, answered=self.is_answered)


def has_no_descriptor_left() -> bool:
    """Whether no socket can be created now. In this case a failed name lookup shows nothing about the target."""
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno in _OUR_ERRNOS
    return False
