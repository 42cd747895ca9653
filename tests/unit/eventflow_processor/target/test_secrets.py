"""Secrets in requests, which an answer may repeat."""

import base64

import pytest
from yarl import URL

from eventflow_processor.target.answer import AnswerJudge
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.secrets import secrets_of

HEADERS = {"Authorization": "Bearer t0ps3cret", "X-Short": "1"}


def shown(answer: bytes, url: str = "https://api.test/hooks/T0/B1?key=querysecret&v=2", **headers: str) -> str | None:
    secrets = secrets_of(URL(url), headers or HEADERS)
    judge = AnswerJudge(feedback=FeedbackReader(mode="none"), is_plain=False, secrets=secrets)
    return judge.text_of(answer)


def test_an_answer_that_repeats_our_secrets_is_shown_without_them() -> None:
    assert shown(b"no such token: Bearer t0ps3cret") == "no such token: ***"
    assert shown(b"no such token: t0ps3cret, 1") == "no such token: ***, 1"
    assert shown(b"Cannot POST /hooks/T0/B1?key=querysecret&v=2") == "Cannot POST ***"
    assert shown(b"key querysecret of /hooks/T0/B1") == "key *** of ***"


def test_a_secret_at_the_cut_is_hidden_as_a_whole() -> None:
    text = shown(b"-" * 505 + b" t0ps3cret and so on")
    assert text is not None
    assert "t0p" not in text


def test_hiding_secrets_does_not_bring_a_part_of_another_one_before_the_cut() -> None:
    token = "t0ps3cret" * 10
    text = shown(f"{token} ".encode() * 20, Authorization=f"Bearer {token}")
    assert text is not None
    assert set(text) == {"*", " "}


@pytest.mark.parametrize(
    "answer", [rb'{"got": "k\/1+2\"3"}', b"?t=k%2F1%2B2%223", b"<p>k/1+2&quot;3</p>", rb'"k/1+2\"3"']
)
def test_a_secret_is_hidden_in_the_form_in_which_an_answer_escapes_it(answer: bytes) -> None:
    text = shown(answer, Authorization='Bearer k/1+2"3')
    assert text is not None
    assert "1" not in text


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"?t=a%2fb%2bc%26d%22%27%3c%3e", id="URL of .NET"),
        pytest.param(b"<p>a/b+c&amp;d\"'&lt;&gt;</p>", id="HTML without quotes"),
        pytest.param(b"<p>a/b+c&amp;d&quot;&#39;&lt;&gt;</p>", id="HTML of PHP"),
        pytest.param(b"<p>a/b&#43;c&amp;d&#34;&#39;&lt;&gt;</p>", id="HTML of Go"),
        pytest.param(rb"""{"t": "a/b+c\u0026d\"'\u003c\u003e"}""", id="JSON of Go"),
        pytest.param(rb'{"t": "a/b\u002Bc\u0026d\u0022\u0027\u003C\u003E"}', id="JSON of .NET"),
    ],
)
def test_a_secret_is_hidden_in_the_form_in_which_a_language_writes_it(answer: bytes) -> None:
    text = shown(answer, Authorization="Bearer a/b+c&d\"'<>")
    assert text is not None
    assert "***" in text
    assert "b" not in text


def test_the_parts_of_a_secret_that_a_target_knows_are_hidden_too() -> None:
    basic = base64.b64encode(b"bob:hunter22").decode()
    assert shown(b"hunter22 is not the password of bob", Authorization=f"Basic {basic}") == (
        "*** is not the password of bob"
    )
    assert shown(b"no session 0123456789abcdef", Cookie="id=0123456789abcdef; lang=en") == "no session ***"
    assert shown(b"no hook 0123456789abcdef", "https://api.test/T0/0123456789abcdef") == "no hook ***"


def test_credentials_that_cannot_be_decoded_are_hidden_as_they_are() -> None:
    assert shown(b"bad credentials: A/==B", Authorization="Basic A/==B") == "bad credentials: ***"
