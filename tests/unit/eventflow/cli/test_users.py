"""`eventflow console`: users of the console."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from eventflow.cli.users import app
from eventflow.users import PasswordHash, read_users
from tests.support.console import cheap_hash


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(PasswordHash, "of", cheap_hash)
    return tmp_path / "users"


def run(*arguments: str, entered: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=entered)


def test_a_user_is_added_with_the_password_from_the_input(file: Path):
    added = run("add-user", "alice", "--file", str(file), entered="correct horse\r\nmore\n")
    assert added.exit_code == 0
    assert "was added" in added.output
    assert read_users(file)["alice"].matches("correct horse")
    assert "correct horse" not in added.output + file.read_text()
    changed = run("add-user", "alice", "--file", str(file), entered="battery staple\n")
    assert "new password" in changed.output
    assert read_users(file)["alice"].matches("battery staple")


@pytest.mark.parametrize(("name", "entered"), [("a:b", "correct horse\n"), ("alice", "short\n"), ("alice", "")])
def test_a_name_or_a_password_that_cannot_be_used_is_wrong_usage(file: Path, name: str, entered: str):
    assert run("add-user", name, "--file", str(file), entered=entered).exit_code == 2
    assert not file.exists()


def test_users_are_listed_and_removed(file: Path):
    for name in ("bob", "alice"):
        run("add-user", name, "--file", str(file), entered="correct horse\n")
    assert run("list-users", "--file", str(file)).output == "bob\nalice\n"
    assert run("remove-user", "bob", "--file", str(file)).exit_code == 0
    listed = json.loads(run("list-users", "--file", str(file), "--json").output)
    assert listed == {"users": ["alice"], "file": str(file)}
    assert run("remove-user", "bob", "--file", str(file)).exit_code == 1


def test_the_file_of_the_settings_is_used(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EVENTFLOW_CONSOLE__USERS_FILE", str(file))
    run("add-user", "alice", entered="correct horse\n")
    assert list(read_users(file)) == ["alice"]


def test_a_file_in_no_directory_is_an_error_that_names_it(tmp_path: Path):
    missing = tmp_path / "nowhere" / "users"
    result = run("add-user", "alice", "--file", str(missing), entered="correct horse\n")
    assert result.exit_code == 1
    assert str(missing) in str(result.exception)
