"""The rates that an operator may set."""

import pytest
import typer

from eventflow.cli.overrides import rate_of


@pytest.mark.parametrize("text", ["1e-9", "0", "-1", "nan", "1e7", "fast"])
def test_a_rate_that_no_flow_can_mean_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"0\.00001"):
        rate_of(text)
