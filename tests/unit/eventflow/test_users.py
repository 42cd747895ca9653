"""The file of the console's users."""

import threading
from pathlib import Path

import pytest

from eventflow.errors import InvalidInputError
from eventflow.users import (
    FILE_MAX_BYTES,
    PasswordHash,
    check_name,
    check_password,
    put_user,
    read_users,
    remove_user,
)
from tests.support.console import cheap_hash


def test_a_hash_matches_its_password_only():
    hashed = PasswordHash.of("correct horse")
    assert hashed.matches("correct horse")
    assert not hashed.matches("correct horse ")
    assert PasswordHash.of("correct horse").salt != hashed.salt


def test_a_hash_is_written_in_the_usual_form_and_read_back():
    hashed = PasswordHash.of("correct horse")
    assert str(hashed).startswith("$scrypt$ln=15,r=8,p=3$")
    assert PasswordHash.parse(str(hashed)) == hashed
    assert "correct" not in str(hashed)


def test_a_password_matches_in_each_form_of_unicode():
    assert cheap_hash("caf\u00e9 au lait").matches("cafe\u0301 au lait")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$scrypt$ln=15,r=8,p=3$c2FsdA$",
        "$scrypt$ln=0,r=8,p=3$c2FsdA$aGFzaA",
        "$scrypt$ln=30,r=8,p=3$c2FsdA$aGFzaA",
        "$scrypt$ln=20,r=64,p=3$c2FsdA$aGFzaA",
        "$scrypt$ln=15,r=8,p=99$c2FsdA$aGFzaA",
        "$scrypt$ln=15,r=8,p=3$c2FsdA$aGFzaA\n",
        "$scrypt$ln=15,r=8,p=3$c$aGFzaA",
    ],
)
def test_another_text_or_one_that_would_cost_too_much_is_no_hash(text: str):
    with pytest.raises(ValueError, match=r"hash|padding"):
        PasswordHash.parse(text)


def test_users_are_added_replaced_and_removed(tmp_path: Path):
    path = tmp_path / "users"
    assert put_user(path, "alice", cheap_hash("one"))
    assert put_user(path, "bob", cheap_hash("two"))
    assert not put_user(path, "alice", cheap_hash("three"))
    users = read_users(path)
    assert list(users) == ["alice", "bob"]
    assert users["alice"].matches("three")
    assert remove_user(path, "bob")
    assert not remove_user(path, "bob")
    assert list(read_users(path)) == ["alice"]


def test_a_new_file_is_for_its_owner_only_and_a_present_one_keeps_its_rights(tmp_path: Path):
    path = tmp_path / "users"
    put_user(path, "alice", cheap_hash("one"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    put_user(path, "bob", cheap_hash("two"))
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_two_operators_at_once_do_not_undo_each_other(tmp_path: Path):
    path = tmp_path / "users"
    adding = [
        threading.Thread(target=put_user, args=(path, f"user-{number}", cheap_hash("one"))) for number in range(20)
    ]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert len(read_users(path)) == 20


@pytest.mark.parametrize("line", ["alice", "alice:secret", ":$scrypt$", "a\x07b:x", b"\xff:x"])
def test_a_wrong_line_is_named_by_its_number_and_not_quoted(tmp_path: Path, line: str | bytes):
    path = tmp_path / "users"
    path.write_bytes(b"# people\n\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(InvalidInputError) as caught:
        read_users(path)
    assert "line 3" in str(caught.value) or "UTF-8" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path):
    path = tmp_path / "users"
    path.write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    with pytest.raises(InvalidInputError, match="more than"):
        read_users(path)


@pytest.mark.parametrize("name", ["", "a:b", " a", "a ", "a\nb", "#a", "x" * 65])
def test_a_name_that_basic_authentication_or_the_file_cannot_hold_is_refused(name: str):
    with pytest.raises(InvalidInputError):
        check_name(name)


def test_a_short_password_is_refused():
    with pytest.raises(InvalidInputError, match="8 to 256"):
        check_password("1234567")
