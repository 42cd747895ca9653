"""The flow that a command works on."""

import pytest
import typer

from eventflow.cli.options import flows_of, named_flow, one_flow_of
from eventflow.settings.root import FlowSettings, Settings
from eventflow.settings.target import TargetSettings


def settings(*flows: str, with_default: bool = False) -> Settings:
    return Settings.model_construct(
        flows={name: FlowSettings() for name in flows}, target=TargetSettings() if with_default else None, source=None
    )


def test_a_flow_is_chosen_only_where_it_is_obvious() -> None:
    assert one_flow_of(settings("blue"), None) == "blue"
    assert one_flow_of(settings("blue", with_default=True), None) == "default"
    assert flows_of(settings("blue", "red"), None) == ("blue", "red")
    for wrong in (None, "green"):
        with pytest.raises(typer.BadParameter):
            one_flow_of(settings("blue", "red"), wrong)


def test_a_flow_is_named_once_or_twice_alike() -> None:
    assert (named_flow("blue", None), named_flow(None, "blue"), named_flow(None, None)) == ("blue", "blue", None)
    assert named_flow("blue", "blue") == "blue"
    with pytest.raises(typer.BadParameter, match="blue"):
        named_flow("blue", "red")
