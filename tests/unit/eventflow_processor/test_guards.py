"""Checks of the processor before its start."""

from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow_processor.guards import require_target_urls
from tests.support.settings import loaded


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_processor_needs_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_FLOWS__A__TARGET__URL"):
        require_target_urls(loaded(monkeypatch, FLOWS__A__SOURCE__API_KEYS="some-key"))
