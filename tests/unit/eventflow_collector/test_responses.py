"""Answers as they are written."""

import pytest

from eventflow.senders.vocabulary import Answer
from eventflow_collector.responses import accepted, written


def lines_of(answer: Answer, *, is_batch: bool = False) -> tuple[list[bytes], bytes]:
    encoded = written(accepted(["a", "b"] if is_batch else ["a"], is_batch=is_batch, answer=answer), unix_s=0)
    head, _, body = encoded.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


COMMON = [b"Server: event-flow", b"Date: Thu, 01 Jan 1970 00:00:00 GMT"]
JSON_TYPE = b"Content-Type: application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("answer", "first", "own", "body"),
    [
        (Answer(), b"202 Accepted", [JSON_TYPE, b"Content-Length: 11"], b'{"id": "a"}'),
        (Answer(status=200), b"200 OK", [JSON_TYPE, b"Content-Length: 11"], b'{"id": "a"}'),
        (Answer(body="empty"), b"202 Accepted", [b"Content-Length: 0"], b""),
        (Answer(status=200, body="empty"), b"200 OK", [b"Content-Length: 0"], b""),
        (Answer(status=204), b"204 No Content", [], b""),
        (
            Answer(status=200, text="[accepted]"),
            b"200 OK",
            [b"Content-Type: text/plain; charset=utf-8", b"Content-Length: 10"],
            b"[accepted]",
        ),
        (
            Answer(text="\u00e4"),
            b"202 Accepted",
            [b"Content-Type: text/plain; charset=utf-8", b"Content-Length: 2"],
            b"\xc3\xa4",
        ),
    ],
)
def test_an_acceptance_has_the_form_of_the_flow(answer: Answer, first: bytes, own: list[bytes], body: bytes) -> None:
    lines, written_body = lines_of(answer)
    assert lines[0] == b"HTTP/1.1 " + first
    assert sorted(lines[1:]) == sorted([*own, *COMMON])
    assert written_body == body


def test_a_batch_is_answered_with_all_ids() -> None:
    assert lines_of(Answer(status=200), is_batch=True)[1] == b'{"ids": ["a", "b"]}'
