"""Answers that the history keeps: their beginning, by each of the HTTP clients, without secrets and matches."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable

import pytest
import structlog

from eventflow.event import utc_now
from eventflow_processor.target import redaction
from eventflow_processor.target.answer import AnswerBody, AnswerJudge
from eventflow_processor.target.feedback import NAMES, FeedbackReader
from eventflow_processor.target.kept_answer import AnswerKeeping
from eventflow_processor.target.redaction import Patterns, Pause
from eventflow_processor.target.result import Failed, KeptAnswer, Succeeded
from tests.support.http_targets import CLIENTS, HttpTarget, attempt_at
from tests.support.raw_target import RawRequest, RawTarget

SECRET = "t0ps3cret-of-ours"


def writing(answer: bytes) -> Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]:
    async def write(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    return write


def answer_of(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d Any\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), lines, body)


async def kept_by(client: type[HttpTarget], answer: bytes, keeping: AnswerKeeping | None) -> KeptAnswer | None:
    async with RawTarget(writing(answer)) as raw:
        headers = {"Authorization": f"Bearer {SECRET}"}
        result, _ = await attempt_at(client, raw.url, headers=headers, keeping=keeping)
    assert isinstance(result, Succeeded | Failed)
    return result.answer


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_failure_keeps_the_beginning_of_its_answer_with_type_and_length(client: type[HttpTarget]) -> None:
    answer = answer_of(422, b'{"sku": "is taken"}' + b" " * 3000, b"Content-Type: application/json; charset=utf-8")
    kept = await kept_by(client, answer, AnswerKeeping(max_bytes=17))
    assert kept == KeptAnswer(
        content=b'{"sku": "is taken', content_type="application/json; charset=utf-8", size_bytes=3019
    )


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_answer_without_a_body_or_a_type_is_kept_as_empty(client: type[HttpTarget]) -> None:
    kept = await kept_by(client, answer_of(500, b""), AnswerKeeping(max_bytes=512))
    assert kept == KeptAnswer(content=b"", content_type=None, size_bytes=0)


@pytest.mark.parametrize("client", CLIENTS)
async def test_successes_are_kept_only_if_all_answers_are(client: type[HttpTarget]) -> None:
    answer = answer_of(200, b"\x00\xff binary", b"Content-Type: image/png")
    assert await kept_by(client, answer, AnswerKeeping(max_bytes=512)) is None
    kept = await kept_by(client, answer, AnswerKeeping(max_bytes=512, of_successes=True))
    assert kept == KeptAnswer(content=b"\x00\xff binary", content_type="image/png", size_bytes=9)


class Broken(Patterns):
    """Patterns that fail, as a bug could."""

    def struck_from(self, content: bytes, pause: Pause) -> bytes | None:
        raise MemoryError


def test_an_error_costs_the_kept_answer_and_not_the_success() -> None:
    errors: list[Exception] = []
    keeping = AnswerKeeping(max_bytes=512, of_successes=True, patterns=Broken(), on_error=errors.append)
    judge = AnswerJudge(feedback=FeedbackReader(mode="none"), is_plain=False, keeping=keeping)
    result = judge.result_of(200, {}, AnswerBody(content=b"ok", is_whole=True), now=utc_now())
    assert result == Succeeded(status=200)
    assert [type(error) for error in errors] == [MemoryError]


@pytest.mark.parametrize("client", CLIENTS)
async def test_without_a_history_nothing_is_kept(client: type[HttpTarget]) -> None:
    assert await kept_by(client, answer_of(422, b"no"), None) is None


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_headers_of_the_type_are_read_only_for_the_history(client: type[HttpTarget]) -> None:
    judge = AnswerJudge(feedback=FeedbackReader(mode="none"), is_plain=True)
    assert judge.header_names == NAMES
    kept = await kept_by(client, answer_of(422, b"no", b"Content-Type: \xff\x01a"), AnswerKeeping(max_bytes=512))
    assert kept is not None
    assert kept.content_type is None or kept.content_type.isprintable()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_content_type_is_short_printable_and_without_our_secrets(client: type[HttpTarget]) -> None:
    answer = answer_of(422, b"no", b"Content-Type: text/\xff; token=" + SECRET.encode() + b"; " + b"x" * 300)
    kept = await kept_by(client, answer, AnswerKeeping(max_bytes=512))
    assert kept is not None
    assert kept.content_type is not None
    assert len(kept.content_type) <= 255
    assert kept.content_type.isprintable()
    assert "token=***; xxx" in kept.content_type


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_compressed_answer_is_not_kept_because_it_may_contain_our_secrets(client: type[HttpTarget]) -> None:
    body = gzip.compress(SECRET.encode())
    kept = await kept_by(client, answer_of(422, body, b"Content-Encoding: gzip"), AnswerKeeping(max_bytes=512))
    assert kept == KeptAnswer(content=None, content_type=None, size_bytes=len(body))


def judge_with(patterns: Patterns, *, max_bytes: int = 512) -> AnswerJudge:
    """Return the judge of a target."""
    keeping = AnswerKeeping(max_bytes=max_bytes, patterns=patterns)
    return AnswerJudge(
        feedback=FeedbackReader(mode="none"), is_plain=True, secrets=[SECRET, "of-ours"], keeping=keeping
    )


def kept(
    content: bytes, *, max_bytes: int = 512, patterns: Patterns | None = None, is_whole: bool = True
) -> bytes | None:
    """Return the content that is kept of a failure's answer."""
    return kept_of(judge_with(patterns or Patterns(), max_bytes=max_bytes), content, is_whole=is_whole)


def kept_of(judge: AnswerJudge, content: bytes, *, is_whole: bool = True) -> bytes | None:
    judge.hide_token("tokens-are-hidden-too")
    result = judge.result_of(422, {}, AnswerBody(content=content, is_whole=is_whole), now=utc_now())
    assert isinstance(result, Failed)
    assert result.answer is not None
    return result.answer.content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"got": "t0ps3cret-of-ours"}', b'{"got": "***"}'),
        (b"the end of-ours", b"the end ***"),
        (b"a=tokens-are-hidden-too;", b"a=***;"),
    ],
)
def test_our_secrets_are_struck_out(content: bytes, expected: bytes) -> None:
    assert kept(content) == expected


@pytest.mark.parametrize("cut", range(1, len(SECRET) + 12))
def test_a_secret_across_the_cut_is_struck_out(cut: int) -> None:
    content = b"no token " + SECRET.encode() + b" here" * 900
    beginning = kept(content, max_bytes=9 + cut)
    assert beginning is not None
    assert SECRET.encode()[:4] not in beginning
    assert beginning.startswith(b"no token *")


def test_a_secret_of_which_only_the_beginning_was_read_is_struck_out() -> None:
    assert kept(b"no token t0ps3c", is_whole=False) == b"no token ***"


def test_matches_of_the_patterns_are_struck_out_too() -> None:
    patterns = Patterns([r"\b\d{13,16}\b", r"(?i)[a-z.]+@[a-z.]+"])
    assert kept(b"card 4111111111111111 of A.B@example.com", patterns=patterns) == b"card *** of ***"


def test_a_match_across_the_cut_is_struck_out() -> None:
    assert kept(b"card 4111111111111111!", max_bytes=10, patterns=Patterns([r"\d{13,16}"])) == b"card ***!"


def test_a_pattern_that_never_ends_costs_one_target_its_answers_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = Patterns(["(a+)+$"])
    one, other = judge_with(patterns), judge_with(patterns)
    began_s = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        assert kept_of(one, b"a" * 64 + b"!") is None
        assert kept_of(one, b"harmless") is None  # for a minute: a target could repeat such an answer
        assert kept_of(other, b"harmless") == b"harmless"
    assert time.monotonic() - began_s < 10
    assert [line["event"] for line in logs] == ["history.redaction_too_slow"]
    monkeypatch.setattr(redaction.time, "monotonic", lambda: began_s + redaction.SLOW_PAUSE_S + 60)
    assert kept_of(one, b"harmless") == b"harmless"
