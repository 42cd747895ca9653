"""New files for exports: each is written once, and only its owner can read it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from eventflow.errors import EventFlowError

STANDARD_STREAM = "-"
OWNER_ONLY = 0o600


@contextmanager
def writing(file: Path) -> Iterator[IO[str]]:
    """Open a new file that only its owner can read, or standard output for `-`.

    An export that fails leaves no file that looks complete: until the end its name ends in `.part`.

    Raises:
        EventFlowError: The file exists, or cannot be written.
    """
    if str(file) == STANDARD_STREAM:
        yield sys.stdout
        return
    part = file.with_name(f"{file.name}.part")
    try:
        _require_absent(file)
        with _new_file(part) as sink:
            try:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())  # the exported dead letters or attempts may be deleted next
                _name(part, file)
            finally:
                part.unlink(missing_ok=True)
    except FileExistsError as error:
        raise EventFlowError(f"{error.filename2 or error.filename} exists, and no export overwrites a file") from error
    except OSError as error:
        raise EventFlowError(f"cannot write {file}: {error.strerror}") from error


def _name(part: Path, file: Path) -> None:
    """Give a complete file its name, unless a file with this name exists."""
    try:
        os.link(part, file)  # unlike a rename, it never replaces a file
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        _require_absent(file)
        part.rename(file)


def _require_absent(file: Path) -> None:
    if os.path.lexists(file):
        raise FileExistsError(None, None, str(file))


def _new_file(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w", encoding="utf-8")
