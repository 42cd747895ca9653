"""Reads files of exported dead letters; `-` is standard input."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from eventflow.cli.new_file import STANDARD_STREAM
from eventflow.errors import EventFlowError
from eventflow.operations.dead.export_file import ExportFile


@contextmanager
def reading(file: Path, flow: str) -> Iterator[ExportFile]:
    """Open a file of exported dead letters, or standard input for `-`.

    Raises:
        EventFlowError: It cannot be read, or a line is wrong.
    """
    name = "standard input" if str(file) == STANDARD_STREAM else str(file)
    try:
        with _binary_input(file) as stream:
            yield ExportFile(stream, name, flow)
    except OSError as error:
        raise EventFlowError(f"cannot read {name}: {error.strerror}") from error


@contextmanager
def _binary_input(file: Path) -> Iterator[BinaryIO]:
    """Open a file whose lines can be read twice; a pipe is copied for this."""
    with sys.stdin.buffer if str(file) == STANDARD_STREAM else file.open("rb") as stream:
        if stream.seekable() and str(file) != STANDARD_STREAM:
            yield stream
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield copy
