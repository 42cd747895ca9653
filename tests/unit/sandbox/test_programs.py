"""The programs that only tests use."""

from pathlib import Path

import pytest

from sandbox import programs
from sandbox.system_package import CHROMIUM, PROMETHEUS


def executable(path: Path) -> Path:
    path.touch(mode=0o755)
    return path


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in which programs are searched."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_package_is_missing_until_all_its_needed_programs_are_there(directory: Path) -> None:
    executable(directory / "prometheus")
    assert programs.missing() == [PROMETHEUS, CHROMIUM]
    for name in ("promtool", "amtool", "google-chrome"):
        executable(directory / name)
    assert programs.missing() == []


def test_a_named_browser_is_the_only_one_that_is_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed, named = executable(directory / "chromium"), executable(directory / "my-browser")
    assert programs.browser() == str(installed)
    monkeypatch.setenv(programs.BROWSER_VARIABLE, str(named))
    assert programs.browser() == str(named)
    named.unlink()
    assert programs.browser() is None
