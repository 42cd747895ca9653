"""Options that select dead letters."""

import pytest
import typer

from eventflow.cli.dead.options import selection_of
from eventflow.network.failure import MEANINGS
from eventflow.operations.dead.letters import REASONS
from eventflow.operations.dead.selection import Selection


def test_reasons_are_a_closed_set() -> None:
    known = [*REASONS, *MEANINGS]
    assert selection_of(known, None, None, None) == Selection(reasons=frozenset(known))
    with pytest.raises(typer.BadParameter, match="'timeouts' is unknown: reasons are throttled"):
        selection_of(["timeout", "timeouts"], None, None, None)


def test_a_wrong_time_names_its_option() -> None:
    with pytest.raises(typer.BadParameter, match="2026-11-28T02:00") as caught:
        selection_of(None, None, None, "yesterday")
    assert caught.value.param_hint == "--until"
