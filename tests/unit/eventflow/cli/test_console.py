"""Tables fit their console, and texts of senders cannot command the terminal."""

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from eventflow.cli.bodies import shown_body
from eventflow.cli.console import printable, table

ID = "66d81702-77a4-4c3d-b40c-8c1d76ba3d24"


def test_nothing_shown_can_command_a_terminal() -> None:
    assert printable("a\x1b[2J\x9b\n\tb") == "a\\x1b[2J\\x9b\n\tb"
    assert shown_body(b'{"a": "\\u001b]0;x\\u0007\\ud800"}', full=False).isascii()


def rendered(width: int) -> list[str]:
    shown = table("id", "type", "", "bytes", numbers=("bytes",))
    shown.add_row(ID, "orders/create", "a long text that may take several lines", "7")
    shown.add_row(ID, "", Text("short"), "12")
    console = Console(width=width, file=StringIO(), markup=False)
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_table_that_fits_has_one_line_for_each_row() -> None:
    assert [len(line.split("  ")) > 1 for line in rendered(120)] == [True, True, True]


@pytest.mark.parametrize("width", range(40, 130))
def test_a_table_breaks_no_word_and_is_never_wider_than_its_console(width: int) -> None:
    lines = rendered(width)
    assert max(map(len, lines)) <= width
    assert sum(ID in line for line in lines) == 2
    assert sum("orders/create" in line for line in lines) == 1


def test_a_table_on_a_narrow_console_becomes_a_list() -> None:
    assert rendered(60) == [
        ID,
        "  type: orders/create",
        "  a long text that may take several lines  bytes: 7",
        ID,
        "  short  bytes: 12",
    ]
