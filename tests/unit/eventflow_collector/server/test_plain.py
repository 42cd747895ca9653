"""The plain requests that the collector parses itself, and the others, which are left to aiohttp."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from eventflow_collector.server.plain import HEAD_MAX_BYTES, KEPT_MAX_BYTES, PlainRequest, Unread, read_plain


def request(*fields: bytes, line: bytes = b"POST /events HTTP/1.1", body: bytes = b"{}") -> bytes:
    return b"\r\n".join([line, b"Host: x", *fields, b"Content-Length: %d" % len(body), b"", body])


def read(data: bytes) -> PlainRequest | Unread:
    return read_plain(data, 0)


def test_a_plain_request_is_read_with_its_flow_headers_and_body() -> None:
    data = request(b"ce-id: 7", line=b"POST /events/orders HTTP/1.1", body=b"\x00\xff")
    plain = read(data)
    assert isinstance(plain, PlainRequest)
    assert plain.head[:4] == ("POST", "orders", "", "")
    assert (plain.body, plain.end) == (b"\x00\xff", len(data))
    assert plain.head.headers["CE-ID"] == "7"


def test_requests_are_read_one_after_the_other() -> None:
    first, second = request(b"ce-id: 1"), request(b"ce-id: 2", body=b"")
    one = read_plain(first + second, 0)
    assert isinstance(one, PlainRequest)
    two = read_plain(first + second, one.end)
    assert isinstance(two, PlainRequest)
    assert (one.head.headers["ce-id"], two.head.headers["ce-id"], two.end) == ("1", "2", len(first + second))


def test_headers_of_a_request_are_not_those_of_the_one_before() -> None:
    assert isinstance(read_plain(request(b"ce-id: 1"), 0), PlainRequest)
    plain = read_plain(request(), 0)
    assert isinstance(plain, PlainRequest)
    assert "ce-id" not in plain.head.headers


@pytest.mark.parametrize(
    ("target", "sub_path", "query"),
    [
        (b"/events/a?batch=1", "", "batch=1"),
        (b"/events/a/?batch=1&batch=2", "/", "batch=1&batch=2"),
        (b"/events/a/b-c_~/D", "/b-c_~/D", ""),
        (b"/events/a?token=a%2Fb+c==&x", "", "token=a%2Fb+c==&x"),
        (b"/events/a?%zz&!$'()*+,;=:@/-._~", "", "%zz&!$'()*+,;=:@/-._~"),
    ],
)
def test_a_target_is_read_as_it_is_written(target: bytes, sub_path: str, query: str) -> None:
    plain = read(request(line=b"POST %b HTTP/1.1" % target))
    assert isinstance(plain, PlainRequest)
    assert plain.head[:4] == ("POST", "a", sub_path, query)


@pytest.mark.parametrize("length", range(len(request(b"ce-id: 7"))))
def test_each_beginning_of_a_plain_request_is_incomplete_and_can_be_read_again(length: int) -> None:
    data = request(b"ce-id: 7")
    at_body = data.index(b"\r\n\r\n") + 4
    expected = Unread.INCOMPLETE_BODY if length >= at_body else Unread.INCOMPLETE_HEAD
    assert read_plain(data[:length], 0) is expected
    assert isinstance(read_plain(data, 0), PlainRequest)


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: 2",
        b"content-length: 2",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Connection: close",
        b"Connection: Upgrade",
        b"Connection: keep-alive, close",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"Content-Encoding: identity",
        b"Trailer: X-A",
        b"TE: trailers",
        b"Sec-WebSocket-Key1: 1",
        b"Host: y",
        b"X-A: 1\r\nx-a: 2",
        b"X-A:",  # httptools joins the name with that of the next header
        b"X-A: ",
        b"X-A:  1",
        b"X-A: 1 ",
        b"X-A:\t1",
        b"X-A: a\tb",
        b"X-A : 1",
        b"X-A",
        b": 1",
        b"X A: 1",
        b"X(A): 1",
        b" X-A: 1",
        b"X-A: 1\r\n 2",
        b"X-A: 1\n2",
        b"X-A: 1\r2",
        b"X-A: 1\nX-B: 2",
        b"X-A: \x00",
        b"X-A: \x7f",
        b"X-A: \xe9",
        b"X\xe9: 1",
        b"X-A: " + b"a" * HEAD_MAX_BYTES,
        b"\r\n".join(b"X-%d: 1" % number for number in range(120)),
    ],
)
def test_a_header_that_leaves_room_for_a_second_reading_is_not_plain(field: bytes) -> None:
    assert read(request(field)) is Unread.NOT_PLAIN


@pytest.mark.parametrize(
    "line",
    [
        b"GET /events HTTP/1.1",
        b"PUT /events HTTP/1.1",
        b"POST /events HTTP/1.0",
        b"POST /events HTTP/1.2",
        b"POST /events HTTP/2.0",
        b"POST /events http/1.1",
        b"POST  /events HTTP/1.1",
        b"POST /events HTTP/1.1 ",
        b" POST /events HTTP/1.1",
        b"\r\nPOST /events HTTP/1.1",
        b"POST /events\tHTTP/1.1",
        b"POST /events",
        b"POST http://x/events HTTP/1.1",
        b"POST //events HTTP/1.1",
        b"POST /events//a HTTP/1.1",
        b"POST /events/a/b%2Fc HTTP/1.1",
        b"POST /events/a/./b HTTP/1.1",
        b"POST /events/%61 HTTP/1.1",
        b"POST /events/../events HTTP/1.1",
        b"POST /events#x HTTP/1.1",
        b"POST /events? HTTP/1.1",
        b"POST /events?a?b HTTP/1.1",
        b"POST /events?a#b HTTP/1.1",
        b"POST /events?a[] HTTP/1.1",
        b'POST /events?a"b HTTP/1.1',
        b"POST /events?\xff HTTP/1.1",
        b"POST /openapi.json HTTP/1.1",
        b"POST /events/\xff HTTP/1.1",
        b"POST /events\x00 HTTP/1.1",
    ],
)
def test_a_first_line_of_another_form_is_not_plain(line: bytes) -> None:
    assert read(request(line=line)) is Unread.NOT_PLAIN


@pytest.mark.parametrize(
    "data",
    [
        b"POST /events HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /events HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0x2\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{}" % KEPT_MAX_BYTES,
        b"\x16\x03\x01",
        b"GET",
        b"POST /x",
        b"P" * 20_000,
        b"POST /events HTTP/1.1\r\n" + b"x" * 20_000,
    ],
)
def test_requests_without_a_plain_length_host_or_beginning_are_not_plain(data: bytes) -> None:
    assert read(data) is Unread.NOT_PLAIN


PIECES = st.sampled_from(
    [
        *(
            b"Content-Length: 2",
            b"content-length: 02",
            b"Content-Length:2",
            b"Content-Length: 1",
            b"Content-Length: 2 2",
        ),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked"),
        *(b"Connection: Keep-Alive", b"Connection: close", b"X-A: \xff", b"X-A: a:b", b"X-A:", b"X(: 1", b" X-B: 1"),
        *(b"Host: x", b"host: y", b"X-C: a \t b", b"X-C: a ", b"X-C: \x00", b"X-%s: %b", b"X-D: 1\r\n", b"X-D: 1\n"),
    ]
)


class Reading:
    """The requests that httptools reads."""

    def __init__(self, data: bytes) -> None:
        self.url = ""
        self.headers: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode().lower(), value.decode()))

    def on_message_begin(self) -> None:
        self.bodies.append(b"")

    def on_body(self, part: bytes) -> None:
        self.bodies[-1] += part


@given(st.lists(PIECES | st.binary(max_size=12), max_size=6))
@example([b"Host: x", b"Content-Length: 2"])
def test_a_plain_request_is_the_same_to_another_parser(fields: list[bytes]) -> None:
    data = b"\r\n".join([b"POST /events HTTP/1.1", *fields, b"", b"{}"])
    plain = read(data)
    if isinstance(plain, PlainRequest):
        other = Reading(data[: plain.end])
        assert sorted(other.headers) == sorted(plain.head.headers.items())
        assert other.bodies == [plain.body]


@given(st.text("/ab-_~?=&%+;:@!*'(),$.#[]\\\"<>{}^`| \x7f\xff", max_size=20))
def test_a_plain_target_is_the_same_to_other_parsers(text: str) -> None:
    target = f"/events{text}"
    data = request(line=b"POST %b HTTP/1.1" % target.encode("latin-1"))
    plain = read(data)
    if isinstance(plain, PlainRequest):
        _, flow, sub_path, query, _ = plain.head
        path = target.partition("?")[0]
        assert Reading(data).url == target == path + (f"?{query}" if query else "")
        parsed = URL.build(path=path, query_string=query, encoded=True)
        assert (parsed.raw_path, parsed.raw_query_string) == (path, query)
        assert path.removeprefix("/events").removeprefix(f"/{flow}") == sub_path
