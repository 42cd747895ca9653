"""Reader of answers: the bytes of one connection become answers, one for each request. Without I/O, over llhttp."""

from collections.abc import Collection, Mapping

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from eventflow.excerpt import EXCERPT_MAX_BYTES
from eventflow.network.failure import BAD_ANSWER, PLAIN_ON_TLS_PORT
from eventflow_processor.target.exchange import HEAD_MAX_BYTES, TLS_ALERT
from eventflow_processor.target.feedback import NAMES

_OF_BODY = frozenset({"content-length", "transfer-encoding"})
"""Headers that state the end of the body."""

Needed = Mapping[bytes, str]
"""The headers that are kept, by the bytes of their names in lower case."""


def needed_headers(judged: Collection[str]) -> Needed:
    """Return the headers that are kept, if those with these names are judged."""
    return {name.encode(): name for name in _OF_BODY.union(judged)}


JUDGED_ONLY = needed_headers(NAMES)


class _SurplusError(Exception):
    """An answer begins that no request has asked for."""


class AnswerReader:
    """Reads the answer to one request at a time. Interim answers (1xx) before it are read and dropped.

    Attributes:
        status: 0 until the head of the answer has been read.
        headers: Headers of the answer that are needed, with names in lower case. Of several with one name the first
            counts.
        body: Body up to now.
        keeps_alive: Whether the head allows another request on the connection.
        is_whole: Whether the answer has been read to its last byte.
        is_broken: Whether bytes arrived that do not belong to the answer, or are not HTTP. Nothing more can be read.
        failure: Detail of the failure if the head cannot be read.
        unreadable: The first bytes that are not HTTP; set with `failure` only.
    """

    __slots__ = (
        "_head_bytes",
        "_needed",
        "_parser",
        "body",
        "failure",
        "headers",
        "is_broken",
        "is_whole",
        "keeps_alive",
        "status",
        "unreadable",
    )

    def __init__(self, needed: Needed = JUDGED_ONLY) -> None:
        """Begin with the first answer."""
        self._needed = needed
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # as aiohttp's client: the status counts, and not the style
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.begin()

    def begin(self) -> None:
        """Begin with the next answer, after one that was whole and not broken."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.keeps_alive = self.is_whole = self.is_broken = False
        self.failure: str | None = None
        self._head_bytes = 0

    def close(self) -> None:
        """Read no more. Parser and reader refer to each other, and would wait for the garbage collector."""
        del self._parser

    def feed(self, data: memoryview) -> None:
        """Read the next bytes of the connection."""
        if self.status:
            self._parse(data)
        else:
            self._feed_head(data)

    def _feed_head(self, data: memoryview) -> None:
        left_bytes = HEAD_MAX_BYTES - self._head_bytes
        self._head_bytes += len(data)
        self._parse(data[:left_bytes])
        if len(data) > left_bytes:
            if self.status:
                self._parse(data[left_bytes:])
            else:
                self.is_broken, self.failure, self.unreadable = True, BAD_ANSWER, b""

    def _parse(self, data: memoryview) -> None:
        if self.is_broken:
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if isinstance(error, HttpParserCallbackError) and not self.is_whole:
                raise  # an error of our own
            self.is_broken = True
            if not self.status:
                self.failure = PLAIN_ON_TLS_PORT if data[: len(TLS_ALERT)] == TLS_ALERT else BAD_ANSWER
                # Only the first read: a later one can begin amid the headers, which are not shown.
                self.unreadable = bytes(data[: 2 * EXCERPT_MAX_BYTES]) if self._head_bytes <= len(data) else b""

    def feed_eof(self) -> None:
        """Note the end of the connection. It is the end of a body that has no other one."""
        if self.status and not self.is_broken and not self._has_stated_end():
            self.is_whole = True

    def _has_stated_end(self) -> bool:
        coding = self.headers.get("transfer-encoding")
        return "content-length" in self.headers if coding is None else coding.lower().endswith("chunked")

    # Called by the parser

    def on_message_begin(self) -> None:
        """Stop before a second answer. After the first one, the parser accepts only empty lines, which do no harm."""
        if self.is_whole:
            raise _SurplusError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header if it is needed, unless it follows the body as a trailer."""
        needed = self._needed.get(name.lower())
        if needed is not None and not self.status:
            self.headers.setdefault(needed, value.decode("utf-8", "surrogateescape").rstrip(" \t"))

    def on_headers_complete(self) -> None:
        """Take a head. The first that is not interim is that of the answer."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers.clear()
            return
        self.status = status
        self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self.body += part

    def on_message_complete(self) -> None:
        """Note the end of the answer, unless it is that of an interim one."""
        self.is_whole = self.status > 0
