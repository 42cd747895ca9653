"""Attempts on record as the command shows them."""

from datetime import timedelta

from eventflow.cli.history.shown import attempts_table, timeline_of
from tests.support.history import NOON, attempt


def test_a_timeline_begins_with_the_acceptance_and_has_each_answer() -> None:
    failed = attempt(
        outcome="retry", reason="client_error", status=422, next_at=NOON + timedelta(seconds=5), subject="7",
        answer=b'{"error":\n "no such sku"}', answer_type="application/json", answer_bytes=4096, trace_id="a" * 32,
    )  # fmt: skip
    lines = list(timeline_of([failed, attempt(attempt=2, started_at=NOON + timedelta(seconds=6))], full=False))
    assert lines == [
        "flow     default",
        "id       order-1",
        "type     order.paid",
        "source   https://shop.example/",
        "subject  7",
        f"trace    {'a' * 32}",
        "2026-01-02T11:59:59.000Z  accepted; attempt 1 began 1.000 s later",
        (
            "2026-01-02T12:00:00.000Z  attempt 1, lane events, failed; next attempt from 2026-01-02T12:00:05.000Z: "
            "client_error, HTTP 422 (12.3 ms)"
        ),
        "    answer (application/json, 4096 bytes, 25 bytes kept):",
        '        {"error":\\n "no such sku"}',
        "2026-01-02T12:00:06.000Z  attempt 2, lane events, was delivered: HTTP 200 (12.3 ms)",
    ]


def test_a_whole_answer_is_indented_and_other_bytes_are_hex() -> None:
    json, binary = attempt(answer=b'{"a":1}', answer_bytes=7), attempt(answer=b"\xff\x00", answer_bytes=2)
    assert list(timeline_of([json], full=True))[-3:] == ["        {", '          "a": 1', "        }"]
    assert list(timeline_of([binary], full=True))[-1] == "        ff 00"


def test_the_flows_of_one_id_are_apart() -> None:
    lines = list(timeline_of([attempt(flow="b"), attempt(flow="a", accepted_at=None)], full=False))
    assert [line for line in lines if line.startswith("flow")] == ["flow     a", "flow     b"]
    assert sum("accepted" in line for line in lines) == 1, "another publisher's message has no time of acceptance"


def test_nothing_of_a_sender_commands_the_terminal() -> None:
    shown = attempts_table([attempt(event_id="\x1b[2J", type="\x9b")])
    assert "\x1b" not in "".join(str(cell) for column in shown.columns for cell in column.cells)
