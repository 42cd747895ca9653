"""Secrets in requests, which an answer may repeat."""

from yarl import URL

from eventflow_processor.target.answer import AnswerJudge
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.secrets import secrets_of


def shown(answer: bytes) -> str | None:
    headers = {"Authorization": "Bearer t0ps3cret", "X-Short": "1"}
    secrets = secrets_of(URL("https://api.test/hooks/T0/B1?key=querysecret&v=2"), headers)
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
