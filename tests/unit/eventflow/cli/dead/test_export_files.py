"""Files of exported dead letters are complete, private, and never replace another file."""

import json
import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE

import pytest

from eventflow.cli.dead.export_files import reading
from eventflow.cli.new_file import writing
from eventflow.errors import EventFlowError


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "dead.ndjson"
    with writing(file) as sink:
        sink.write("1\n")
        assert not file.exists()
    assert (names_in(tmp_path), file.read_text(), S_IMODE(file.stat().st_mode)) == (["dead.ndjson"], "1\n", 0o600)


def test_a_failed_export_leaves_no_file(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), writing(tmp_path / "dead.ndjson") as sink:
        sink.write("1\n")
        raise KeyboardInterrupt
    assert not names_in(tmp_path)


def test_a_file_that_was_created_meanwhile_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "dead.ndjson"
    with pytest.raises(EventFlowError, match=f"^{file} exists, and no export overwrites a file$"), writing(file):
        file.write_text("precious")
    assert (names_in(tmp_path), file.read_text()) == (["dead.ndjson"], "precious")


@pytest.mark.parametrize("exists", [False, True])
def test_a_file_system_without_hard_links_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    file = tmp_path / "dead.ndjson"
    try:
        with writing(file) as sink:
            sink.write("new")
            if exists:
                file.write_text("precious")
    except EventFlowError:
        assert exists
    assert (names_in(tmp_path), file.read_text()) == (["dead.ndjson"], "precious" if exists else "new")


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(EventFlowError, match=r"cannot write .*: No such file or directory"),
        writing(tmp_path / "missing" / "dead.ndjson"),
    ):
        pass


def test_no_event_is_taken_for_another_one_if_the_file_is_saved_again_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "dead.ndjson"
    body = "x" * 100_000  # so that no line is read ahead
    lines = [json.dumps({"id": event_id, "source": "s", "type": "t", "body": body}) + "\n" for event_id in "ab"]
    file.write_text("".join(lines))
    with reading(file, "default") as found, file.open("r+") as editor:
        taken = found.take("b")
        assert taken is not None
        assert taken.event.id == "b"
        editor.write("".join(reversed(lines)))
        editor.flush()
        with pytest.raises(EventFlowError, match="the file was changed while it was read: a has another place"):
            found.take("a")
