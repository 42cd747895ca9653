"""Texts of senders cannot command the terminal."""

from eventflow.cli.console import printable
from eventflow.cli.dead.dead_letters import shown_body


def test_nothing_shown_can_command_a_terminal() -> None:
    assert printable("a\x1b[2J\x9b\n\tb") == "a\\x1b[2J\\x9b\n\tb"
    assert shown_body(b'{"a": "\\u001b]0;x\\u0007\\ud800"}', full=False).isascii()
