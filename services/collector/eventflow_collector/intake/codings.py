"""Content codings (RFC 9110, 8.4): the bodies of requests are decoded piece by piece. Pure.

A short body can decode to a very long one. So each piece is bounded in its size, and in the work that it takes, and the
caller can stop after each of them.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import brotli  # type: ignore[import-untyped]  # there are no stubs
from multidict import MultiMapping

from eventflow.errors import EventFlowError

CODINGS_MAX = 4
"""Codings of one body. Each may take as much work as the largest body allows."""

PIECE_BYTES = 64 * 1024
"""Largest decoded piece."""

INPUT_BYTES = 8 * 1024
"""Encoded bytes that are decoded at once, so that the work for them is bounded, also if they decode to nothing."""

MEMBERS_MAX = 4096
"""Members of one gzip body. An empty one has 20 bytes and takes as much work as the start of a body."""

_ZLIB: Final = zlib.MAX_WBITS
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class BrokenCodingError(EventFlowError):
    """A body is not what its coding requires, is incomplete, or goes on behind its end."""


def codings_of(headers: MultiMapping[str]) -> tuple[str, ...] | None:
    """Return the codings of a body, in the order in which they were applied; None if one is not known."""
    lines = headers.getall("Content-Encoding", ())
    names = [name.strip().lower() for line in lines for name in line.split(",")]
    codings = tuple(name for name in names if name not in {"", "identity"})
    return codings if len(codings) <= CODINGS_MAX and _DECODERS.keys() >= set(codings) else None


def decoded_pieces(coding: str, encoded: bytes) -> Iterator[bytes]:
    """Yield a decoded body in pieces, some of them empty. An empty body stays empty, as some senders write it.

    Raises:
        BrokenCodingError: The body is broken. The pieces before must not be used.
    """
    try:
        if encoded:
            yield from _DECODERS[coding](encoded)
    except (zlib.error, brotli.error) as error:
        raise BrokenCodingError(f"the body is not valid {coding}") from error


def _gzip(encoded: bytes) -> Iterator[bytes]:
    """Decode gzip, of one member or several behind each other (RFC 1952, 2.2)."""
    return _inflated(encoded, _GZIP, members_max=MEMBERS_MAX)


def _deflate(encoded: bytes) -> Iterator[bytes]:
    """Decode deflate, also without the zlib header that RFC 9110 demands, because some senders leave it out."""
    has_header = encoded[0] & 0x0F == zlib.DEFLATED and int.from_bytes(encoded[:2], "big") % 31 == 0
    return _inflated(encoded, _ZLIB if has_header else _RAW, members_max=1)


def _inflated(encoded: bytes, window_bits: int, *, members_max: int) -> Iterator[bytes]:
    stream, members = zlib.decompressobj(window_bits), 1
    for at in range(0, len(encoded), INPUT_BYTES):
        rest = encoded[at : at + INPUT_BYTES]
        while rest:
            if stream.eof:
                if members == members_max:
                    raise BrokenCodingError("the compressed body goes on behind its end")
                stream, members = zlib.decompressobj(window_bits), members + 1
            yield stream.decompress(rest, PIECE_BYTES)
            rest = stream.unconsumed_tail or stream.unused_data
    while not stream.eof:  # output that is left although all input is consumed
        piece = stream.decompress(b"", PIECE_BYTES)
        if not piece and not stream.eof:
            raise BrokenCodingError("the compressed body is incomplete")
        yield piece


def _brotli(encoded: bytes) -> Iterator[bytes]:
    stream = brotli.Decompressor()
    for at in range(0, len(encoded), INPUT_BYTES):
        yield stream.process(encoded[at : at + INPUT_BYTES], output_buffer_limit=PIECE_BYTES)
        while not (stream.can_accept_more_data() or stream.is_finished()):
            yield stream.process(b"", output_buffer_limit=PIECE_BYTES)
    while not stream.is_finished():
        piece = stream.process(b"", output_buffer_limit=PIECE_BYTES)
        if not piece and not stream.is_finished():
            raise BrokenCodingError("the compressed body is incomplete")
        yield piece


_DECODERS: Mapping[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,  # RFC 9110, 8.4.1.3: the same
    "deflate": _deflate,
    "br": _brotli,
}

ACCEPTED: Final = ("gzip", "deflate", "br")
"""The codings that a sender is offered."""
