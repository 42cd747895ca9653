"""The section `[source]`: the answers that a flow gives, and the methods that it takes."""

import pytest
from pydantic import ValidationError

from eventflow.senders.vocabulary import Answer, Sender
from eventflow.settings.source import SourceSettings

XERO = Sender(name="x", title="X", authentication=(), answer=Answer(status=200, body="empty"))
TEXT = Sender(name="x", title="X", authentication=(), answer=Answer(status=200, text="[accepted]"))


@pytest.mark.parametrize(
    ("settings", "sender", "answer"),
    [
        ({}, None, Answer(status=202, body="json")),
        ({"answer_status": "200"}, None, Answer(status=200, body="json")),
        ({"answer_status": 204}, None, Answer(status=204, body="json")),
        ({"answer_text": "ok"}, None, Answer(status=202, text="ok")),
        ({}, XERO, Answer(status=200, body="empty")),
        ({"answer_status": "202"}, XERO, Answer(status=202, body="empty")),
        ({"answer_body": "json"}, XERO, Answer(status=200, body="json")),
        ({}, TEXT, Answer(status=200, text="[accepted]")),
        ({"answer_body": "empty"}, TEXT, Answer(status=200, body="empty")),
        ({"answer_text": "ok"}, TEXT, Answer(status=200, text="ok")),
    ],
)
def test_settings_of_the_answer_go_before_those_of_the_sender(
    settings: dict[str, object], sender: Sender | None, answer: Answer
) -> None:
    assert SourceSettings.model_validate(settings).answer_after(sender) == answer


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"answer_status": "201"}, "answer_status"),
        ({"answer_status": "ok"}, "answer_status"),
        ({"answer_body": "xml"}, "answer_body"),
        ({"answer_text": "ok", "answer_body": "json"}, "answer_text"),
        ({"answer_text": "ok", "answer_status": "204"}, "answer_text"),
        ({"answer_text": "x" * 1001}, "answer_text"),
        ({"methods": ""}, "methods"),
        ({"methods": "POST,HEAD"}, "methods"),
        ({"signed_body": "encoded"}, "signed_body"),
        ({"forward_headers": "X-A,Host"}, "forward_headers"),
        ({"forward_headers": "Content-Type"}, "forward_headers"),
        ({"forward_headers": "ce-id"}, "forward_headers"),
        ({"forward_headers": "X-*-A"}, "forward_headers"),
        ({"forward_headers": "X A"}, "forward_headers"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SourceSettings.model_validate(settings)
    assert refused.value.errors()[0]["loc"][0] == named


def test_headers_to_forward_are_names_and_beginnings_of_names() -> None:
    source = SourceSettings.model_validate({"forward_headers": "X-Shopify-*, Authorization,*", "forward_query": "true"})
    assert source.forward_headers == ("X-Shopify-*", "Authorization", "*")
    assert source.forward_query
    with pytest.raises(ValidationError, match="host is never forwarded"):
        SourceSettings.model_validate({"forward_headers": ["host", "Host"]})


def test_methods_are_separated_by_commas() -> None:
    assert SourceSettings.model_validate({"methods": "POST, GET"}).methods == ("POST", "GET")
