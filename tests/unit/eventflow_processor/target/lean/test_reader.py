"""The reader of answers: the bytes that are the answer to a request, in any pieces."""

import gc
import weakref

import pytest

from eventflow_processor.target.exchange import HEAD_MAX_BYTES
from eventflow_processor.target.lean.reader import AnswerReader

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Other: c\r\nRetry-After:  a b \r\nretry-after: second\r\n\r\nok"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nX-Trailer: x\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"
UNTIL_EOF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"


def read(*parts: bytes) -> AnswerReader:
    reader = AnswerReader()
    for part in parts:
        reader.feed(memoryview(part))
    return reader


@pytest.mark.parametrize(
    ("text", "status", "body"), [(OK, 200, b"ok"), (CHUNKED, 201, b"ok"), (INTERIM + OK, 200, b"ok"), (EMPTY, 204, b"")]
)
def test_an_answer_is_whole_at_its_last_byte_and_not_before(text: bytes, status: int, body: bytes) -> None:
    for step in (1, 7, len(text)):
        reader = AnswerReader()
        for _ in range(3):  # on one connection
            for start in range(0, len(text), step):
                assert not reader.is_whole
                reader.feed(memoryview(text)[start : start + step])
            assert (reader.status, bytes(reader.body)) == (status, body)
            assert (reader.is_whole, reader.keeps_alive, reader.is_broken) == (True, True, False)
            reader.begin()


def test_needed_headers_have_lower_case_names_and_the_first_of_a_name_counts() -> None:
    assert read(OK).headers == {"content-length": "2", "retry-after": "a b"}
    assert read(CHUNKED).headers == {"transfer-encoding": "chunked"}, "a trailer is no header"
    assert read(INTERIM + OK).headers == read(OK).headers, "nor is one of an interim answer"


def test_a_status_below_100_is_that_of_the_answer() -> None:
    reader = read(b"HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok")
    assert (reader.status, reader.body, reader.is_whole) == (99, b"ok", True)


@pytest.mark.parametrize("surplus", [b"H", b"\0", OK, INTERIM, b"okok", b"\r\nx"])
@pytest.mark.parametrize("text", [OK, CHUNKED, EMPTY])
def test_bytes_after_an_answer_break_the_connection_and_not_the_answer(text: bytes, surplus: bytes) -> None:
    reader = read(text + surplus)
    assert (reader.is_whole, reader.is_broken) == (True, True)
    assert (reader.status, reader.body) == (read(text).status, read(text).body)


@pytest.mark.parametrize(
    ("text", "keeps_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", True),
    ],
)
def test_the_head_decides_whether_the_connection_is_kept(text: bytes, keeps_alive: bool) -> None:
    reader = read(text)
    assert reader.is_whole
    assert reader.keeps_alive is keeps_alive
    assert reader.is_broken is (reader.status == 101), "the next bytes are not HTTP"


def test_the_end_of_the_connection_is_the_end_of_a_body_without_another_one() -> None:
    for text in (UNTIL_EOF, b"HTTP/1.1 200 OK\r\n\r\nok"):
        reader = read(text)
        assert not reader.is_whole
        reader.feed_eof()
        assert reader.is_whole
    for text in (OK[:-1], CHUNKED[:-1], OK[:10], b""):
        reader = read(text)
        reader.feed_eof()
        assert not reader.is_whole


@pytest.mark.parametrize("text", [b"\0", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", OK[:17] + OK[17:36] * 2])
def test_a_head_that_is_not_http_is_a_failure(text: bytes) -> None:
    reader = read(text)
    assert (reader.status, reader.failure) == (0, "bad_answer")


def test_tls_in_place_of_an_answer_is_named() -> None:
    assert read(b"\x15\x03\x01\x00\x02\x02\x28").failure == "plain_on_tls_port"


@pytest.mark.parametrize("size", [HEAD_MAX_BYTES, 4096])
def test_heads_have_a_limit_in_any_pieces(size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"x" * HEAD_MAX_BYTES
    body = head[: HEAD_MAX_BYTES - 4] + b"\r\n\r\n"
    for text, failure in ((head + b"\r\n\r\n", "bad_answer"), (body, None), (INTERIM * 5000 + OK, "bad_answer")):
        reader = read(*(text[start : start + size] for start in range(0, len(text), size)))
        assert reader.failure == failure


def test_a_large_body_after_a_head_is_no_part_of_its_limit() -> None:
    body = b"x" * HEAD_MAX_BYTES
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert (reader.is_whole, reader.is_broken, bytes(reader.body)) == (True, False, body)


def test_an_error_of_our_own_is_not_taken_for_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("a bug")

    monkeypatch.setattr(AnswerReader, "on_header", fail)
    with pytest.raises(Exception, match="callback") as raised:
        read(OK)
    assert isinstance(raised.value.__context__, ArithmeticError)


def test_a_closed_reader_does_not_wait_for_the_garbage_collector() -> None:
    class Watched(AnswerReader):
        """A reader that can be referred to weakly."""

    reader = Watched()
    reader.feed(memoryview(OK))
    watched = weakref.ref(reader)
    gc.disable()
    try:
        reader.close()
        del reader
        assert watched() is None
    finally:
        gc.enable()
