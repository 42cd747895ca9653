"""The users in the file, read again after a change."""

from pathlib import Path

import pytest

from eventflow.users import put_user, remove_user
from eventflow_console.auth import users
from eventflow_console.auth.users import Users
from tests.support.console import cheap_hash


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(users, "LOOK_EVERY_S", 0.0)


def test_a_change_of_the_file_takes_effect(tmp_path: Path):
    path = tmp_path / "users"
    put_user(path, "alice", cheap_hash("one"))
    known = Users(path)
    assert known.hash_of("alice") == cheap_hash("one")
    assert known.hash_of("bob") is None
    put_user(path, "bob", cheap_hash("two"))
    assert known.hash_of("bob") == cheap_hash("two")
    remove_user(path, "alice")
    assert known.hash_of("alice") is None


@pytest.mark.parametrize("content", [None, b"alice", b"\xff"])
def test_a_file_that_cannot_be_read_leaves_the_users_in_force(tmp_path: Path, content: bytes | None):
    path = tmp_path / "users"
    put_user(path, "alice", cheap_hash("one"))
    known = Users(path)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert known.hash_of("alice") == cheap_hash("one")
    put_user(tmp_path / "new", "alice", cheap_hash("two"))
    (tmp_path / "new").rename(path)
    assert known.hash_of("alice") == cheap_hash("two")
