"""Bodies for display."""

import json

from eventflow.cli.bodies import shown_body


def test_a_body_is_shown_as_what_it_is_and_cut() -> None:
    assert shown_body(b'{"a":[1]}', full=False) == json.dumps({"a": [1]}, indent=2)
    assert shown_body(b"\xff\x00", full=False) == "ff 00"
    assert shown_body(b"x" * 2500, full=False).endswith("\n... 500 more characters; --full shows all")
    assert shown_body(b"\xff" * 130, full=False).endswith("\n... 2 more bytes; --full shows all")
    assert shown_body(b"x" * 2500, full=True) == "x" * 2500
    assert shown_body(b"[" * 100_000, full=True) == "[" * 100_000
