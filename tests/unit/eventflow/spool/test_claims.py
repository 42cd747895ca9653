"""The files of a spool's directory: each has one owner at most, and a command owns all of them or none."""

import os
from pathlib import Path

import pytest

from eventflow.spool.claims import SpoolFiles, SpoolInUseError


def test_a_file_has_one_owner_and_the_first_that_is_free_is_taken(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path)
    first, second = files.claim_free(), files.claim_free()
    assert first.path != second.path
    first.release()
    again = files.claim_free()
    assert again.path == first.path
    again.release()
    second.release()


def test_abandoned_files_are_claimed_once_and_removed_with_their_locks(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path)
    claims = [files.claim_free() for _ in range(3)]
    for claim in claims:
        claim.path.touch()
    assert list(files.claim_abandoned()) == []
    claims[1].release()
    [adopted] = files.claim_abandoned()
    assert adopted.path == claims[1].path
    assert list(files.claim_abandoned()) == []
    adopted.remove()
    assert not [path for path in tmp_path.iterdir() if path.stem == adopted.path.stem]
    again = files.claim_free()
    assert again.path == adopted.path
    for claim in (claims[0], again, claims[2]):
        claim.release()


def test_all_files_are_claimed_or_none(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path)
    for number in range(3):
        (tmp_path / f"spool-{number}.sqlite3").touch()
    claims = files.claim_all()
    assert [claim.path.name for claim in claims] == ["spool-0.sqlite3", "spool-1.sqlite3", "spool-2.sqlite3"]
    for claim in (claims[0], claims[2]):
        claim.release()
    with pytest.raises(SpoolInUseError, match=r"spool-1\.sqlite3"):
        files.claim_all()
    claims[1].release()
    for claim in files.claim_all():  # so the failed call has released those that it had
        claim.release()


def test_corrupted_files_are_listed_apart_and_without_their_journals(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path)
    claim = files.claim_free()
    claim.path.touch()
    claim.path.with_name(claim.path.name + "-wal").touch()
    aside = claim.set_aside()
    assert files.set_aside() == [aside]
    assert files.paths() == []
    claim.release()


def test_a_lock_that_root_creates_belongs_to_the_owner_of_the_file(tmp_path: Path) -> None:
    """Otherwise a collector of that user would skip the file from then on, and leave its events there."""
    files = SpoolFiles(tmp_path)
    (tmp_path / "spool-0.sqlite3").touch()
    if os.geteuid() == 0:
        os.chown(tmp_path / "spool-0.sqlite3", 65534, 65534)
    [claim] = files.claim_all()
    claim.release()
    assert (tmp_path / "spool-0.lock").stat().st_uid == (tmp_path / "spool-0.sqlite3").stat().st_uid
