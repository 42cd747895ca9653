"""Content codings: bodies are decoded in bounded pieces, and broken ones are refused."""

import gzip
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress

import brotli  # type: ignore[import-untyped]  # there are no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from eventflow_collector.intake.codings import (
    CODINGS_MAX,
    MEMBERS_MAX,
    PIECE_BYTES,
    BrokenCodingError,
    codings_of,
    decoded_pieces,
)


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


ENCODERS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without header": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
}
CODINGS = ("gzip", "deflate", "br")
MIB = 1024 * 1024


def decoded(coding: str, encoded: bytes) -> bytes:
    return b"".join(decoded_pieces(coding, encoded))


@pytest.mark.parametrize("name", ENCODERS)
@given(data=st.binary(max_size=300), copies=st.sampled_from([1, 3, 500]))
def test_a_body_is_decoded_as_it_was_encoded(name: str, data: bytes, copies: int) -> None:
    coding, encode = ENCODERS[name]
    assert decoded(coding, encode(data * copies)) == data * copies


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, MIB])
def test_the_end_of_a_piece_is_not_the_end_of_a_body(name: str, size: int) -> None:
    coding, encode = ENCODERS[name]
    data = bytes(range(251)) * (size // 251 + 1)
    assert decoded(coding, encode(data[:size])) == data[:size]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_body_that_ends_too_early_is_refused(name: str) -> None:
    coding, encode = ENCODERS[name]
    encoded = encode(b"hello, world")
    for end in range(1, len(encoded)):
        if end != len(gzip.compress(b"hello, ")) or name != "two members":  # there the first member is whole
            with pytest.raises(BrokenCodingError):
                decoded(coding, encoded[:end])


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("garbage", [b"\x00", b"garbage", b"\x1f\x8b", b"x" * 20_000])
def test_bytes_behind_the_end_are_refused(name: str, garbage: bytes) -> None:
    coding, encode = ENCODERS[name]
    with pytest.raises(BrokenCodingError):
        decoded(coding, encode(b"hello, world") + garbage)


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(min_size=1, max_size=200))
def test_random_bytes_are_decoded_or_refused(coding: str, data: bytes) -> None:
    with suppress(BrokenCodingError):
        assert isinstance(decoded(coding, data), bytes)


@pytest.mark.parametrize("name", ENCODERS)
@given(data=st.data())
def test_a_changed_byte_does_nothing_else(name: str, data: st.DataObject) -> None:
    coding, encode = ENCODERS[name]
    encoded = bytearray(encode(b"hello, world" * 10))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BrokenCodingError):
        decoded(coding, bytes(encoded))


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_body_stays_empty(coding: str) -> None:
    assert decoded(coding, b"") == b""


@pytest.mark.parametrize("name", ENCODERS)
def test_a_bomb_comes_in_small_pieces(name: str) -> None:
    coding, encode = ENCODERS[name]
    bomb = encode(bytes(64 * MIB))
    assert len(bomb) < MIB
    pieces = decoded_pieces(coding, bomb)
    for _ in range(100):
        assert len(next(pieces)) <= 2 * PIECE_BYTES  # brotli's limit may be exceeded by part of a block


def test_a_body_that_decodes_to_nothing_comes_in_small_pieces_too() -> None:
    pieces = decoded_pieces("gzip", gzip.compress(b"") * MEMBERS_MAX)
    assert sum(1 for piece in pieces if not piece) >= MEMBERS_MAX
    with pytest.raises(BrokenCodingError):
        decoded("gzip", gzip.compress(b"") * (MEMBERS_MAX + 1))


@pytest.mark.parametrize(
    ("lines", "codings"),
    [
        ([], ()),
        ([""], ()),
        (["identity"], ()),
        ([" GZIP "], ("gzip",)),
        (["gzip, br", "Deflate"], ("gzip", "br", "deflate")),
        (["identity, gzip,,"], ("gzip",)),
        (["zstd"], None),
        (["gzip", "compress"], None),
        (["gzip;q=1"], None),
        (["gzip" + ",gzip" * (CODINGS_MAX - 1)], ("gzip",) * CODINGS_MAX),
        (["gzip" + ",gzip" * CODINGS_MAX], None),
    ],
)
def test_codings_are_known_or_refused(lines: list[str], codings: tuple[str, ...] | None) -> None:
    assert codings_of(CIMultiDict([("Content-Encoding", line) for line in lines])) == codings
