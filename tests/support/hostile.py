"""Answers that a target might give by mistake or in malice, drawn with dice. The meaning of each is clear."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

RETRY_AFTERS = (
    b"0",
    b"-1",
    b"9" * 30,
    b"Mon, 01 Jan 2024 00:00:00 +9999999999999999",
    b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    b"2024-01-01T00:00:00+99:99",
    b"\xff\xfe",
)
RESETS = (b"0", b"1795816331000", b"1", b"soon", b"2020-01-01T00:00:00Z", b"-5", b"")
ODD_HEADERS = (
    b"X-Long: " + b"x" * 9000,
    b"X-Longer: " + b"x" * 65_000,
    b"\r\n".join(b"X-%d: y" % number for number in range(500)),
    b"Set-Cookie: =\xff;;=;Path;",
    b"Content-Type: \xff",
    b"Connection: keep-alive, x",
    b"RateLimit: ((((",
    b'RateLimit: "a";r=0;t=@9999999999999999',
    b"RateLimit-Policy: \xff",
    b"X-Shopify-Shop-Api-Call-Limit: 41/40",
    b"Location: ///",
    b"Content-Encoding: gzip",
    b"Empty:",
)
INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 102 Processing\n\n",
)
SURPLUS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 3,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConte",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"H",
    b"\x00",
    b"<html>",
    b"\x16\x03\x01",
)
UNREADABLE = (
    b"",
    b"HTTP/1.1 2",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"\x00\xff nonsense\r\n\r\n",
    b"\x16\x03\x01\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 300_000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nokay",
    b"HTTP/1.1 abc\r\n\r\n",
)
SUCCESSES = (b"200 OK", b"201 Created", b"202 Accepted", b"204 No Content", b"299", b"200 \xff")
FAILURES = (b"301 Moved", b"400 Bad Request", b"404 Not Found", b"409 Conflict", b"422 No", b"499 x", b"700 Beyond")
"""Failures of the event's own: they open no breaker, so that events go on to meet other answers."""


class Ending(Enum):
    """State of the connection after an answer."""

    KEPT = auto()
    CLOSED = auto()
    RESET = auto()
    DEAF = auto()
    """It stays open, and nothing is read from it any more: a request that is sent on it is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileAnswer:
    """One answer.

    Attributes:
        segments: Bytes to write one after the other.
        means_success: Whether the target has taken the event: its head is readable and has a status of success.
    """

    segments: tuple[bytes, ...]
    means_success: bool
    ending: Ending


def hostile_answer(dice: random.Random) -> HostileAnswer:
    """Draw an answer: three in four mean success, and most of these look like failures or like more than one."""
    if dice.random() < 0.1:
        ending = dice.choice((Ending.CLOSED, Ending.RESET))
        return HostileAnswer(segments=_cut(dice, dice.choice(UNREADABLE)), means_success=False, ending=ending)
    means_success = dice.random() < 0.85
    line_end = dice.choice((b"\r\n", b"\r\n", b"\n"))
    status = dice.choice(SUCCESSES if means_success else FAILURES)
    framing, body, ending = dice.choice(_BODIES)(dice)
    if status.startswith(b"204"):
        framing, body, ending = (), b"", Ending.KEPT
    headers = (*framing, *_headers(dice))
    head = line_end.join((b"HTTP/1.1 " + status, *dice.sample(headers, len(headers)), b"", b""))
    interim = b"".join(dice.choices(INTERIM, k=dice.choice((0, 0, 0, 1, 2))))
    surplus = dice.choice(SURPLUS) if ending is Ending.KEPT and dice.random() < 0.4 else b""
    # The surplus is in the same segment as the answer's end: any later one could meet the next request on its way.
    *early, last = _cut(dice, interim + head + body)
    return HostileAnswer(
        segments=(*early, last + surplus), means_success=means_success, ending=Ending.DEAF if surplus else ending
    )


def _headers(dice: random.Random) -> Sequence[bytes]:
    headers = [*dice.sample(ODD_HEADERS, dice.choice((0, 1, 1, 2, 3)))]
    if dice.random() < 0.3:
        headers.append(b"Retry-After: " + dice.choice(RETRY_AFTERS))
    if dice.random() < 0.3:
        prefix = dice.choice((b"RateLimit", b"X-RateLimit", b"X-Rate-Limit"))
        headers += [prefix + b"-Remaining: 0", prefix + b"-Reset: " + dice.choice(RESETS)]
    return headers


Framed = tuple[tuple[bytes, ...], bytes, Ending]


def _stated(dice: random.Random) -> Framed:
    body = b"x" * dice.choice((0, 1, 200, 70_000))
    return (b"Content-Length: %d" % len(body),), body, Ending.KEPT


def _cut_short(dice: random.Random) -> Framed:
    return (b"Content-Length: 100",), b"x" * dice.randrange(100), Ending.CLOSED


def _chunked(dice: random.Random) -> Framed:
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in dice.choices((1, 9, 3000), k=dice.randrange(4)))
    return (b"Transfer-Encoding: chunked",), chunks + b"0\r\n" + dice.choice((b"", b"T: x\r\n")) + b"\r\n", Ending.KEPT


def _badly_chunked(dice: random.Random) -> Framed:
    body = dice.choice((b"ZZ\r\n", b"2\r\nokXX", b"5\r\nok", b"fffffffffffffffffff\r\n", b"-1\r\n"))
    return (b"Transfer-Encoding: chunked",), body, Ending.CLOSED


def _until_the_end(dice: random.Random) -> Framed:
    return (), b"x" * dice.choice((0, 1, 70_000)), Ending.CLOSED


_BODIES: tuple[Callable[[random.Random], Framed], ...] = (
    _stated,
    _stated,
    _cut_short,
    _chunked,
    _badly_chunked,
    _until_the_end,
)


def _cut(dice: random.Random, text: bytes) -> tuple[bytes, ...]:
    """Cut bytes into a few segments, often into one. The last one is not empty, unless there are no bytes."""
    places = sorted(dice.randrange(max(1, len(text))) for _ in range(dice.choice((0, 0, 1, 3))))
    return tuple(text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True))
