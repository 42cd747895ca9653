"""Fragments as events of a stream."""

import pytest

from eventflow_console.live import message_of


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("<p>a</p>", "event: now\ndata: <p>a</p>\n\n"),
        ("a\nb", "event: now\ndata: a\ndata: b\n\n"),
        ("a\r\nb\rc", "event: now\ndata: a\ndata: b\ndata: c\n\n"),
        ("", "event: now\ndata: \n\n"),
        ("a\n\nevent: evil\ndata: x", "event: now\ndata: a\ndata: \ndata: event: evil\ndata: data: x\n\n"),
    ],
)
def test_no_text_can_end_an_event_or_begin_another(fragment: str, message: str) -> None:
    assert message_of(fragment) == message
