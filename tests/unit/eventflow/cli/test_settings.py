"""The generated reference of settings."""

import tomllib
from pathlib import Path

from eventflow.cli import settings as reference
from eventflow.settings.load import load

CONFIGURATION = Path(__file__).parents[4] / "docs" / "configuration.md"


def test_the_reference_in_docs_is_the_generated_one() -> None:
    assert CONFIGURATION.read_text(encoding="utf-8") == reference.as_markdown(), (
        "run: eventflow settings --markdown > docs/configuration.md"
    )


def test_the_reference_names_every_setting_and_marks_secrets() -> None:
    rows = {
        setting.variable: setting
        for name, section in reference.sections().items()
        for setting in reference.settings_in(name, section)
    }
    assert rows["EVENTFLOW_TARGET__RETRY_DELAYS_S"].default == "1,5,30,120,600,3600"
    assert rows["EVENTFLOW_COLLECTOR__PORT"].accepted == "whole number from 0 to 65535"
    assert rows["EVENTFLOW_SOURCE__ALLOW_UNAUTHENTICATED"].default == "false"
    assert rows["EVENTFLOW_TARGET__RATE_PER_S"].default == ""
    assert {name for name, row in rows.items() if row.secret} >= {
        "EVENTFLOW_BROKER__URL",
        "EVENTFLOW_SOURCE__API_KEYS",
        "EVENTFLOW_TARGET__HEADERS",
    }
    assert all(row.meaning and row.accepted for row in rows.values())


def test_the_example_in_the_reference_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "eventflow.toml"
    file.write_text(reference.EXAMPLE)
    assert tomllib.loads(reference.EXAMPLE)
    assert list(load(file).all_flows) == ["default", "orders"]
