"""The state of a file, for `eventflow history check`. Synchronous."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from eventflow.errors import HistoryError
from eventflow.history.sqlite.file import connected, version_of, wrong_version
from eventflow.history.sqlite.migrations import MIGRATIONS
from eventflow.history.sqlite.reading import oldest
from eventflow.history.store import QUERY_MAX_S, StoreReport


def report_of(path: Path) -> StoreReport:
    """Return the state of a file. Problems are a part of it, and raise no error."""
    problems = list(_problems_of_rights(path))
    version, oldest_start = 0, None
    try:
        with connected(path, within_s=QUERY_MAX_S) as connection:
            version = version_of(connection, path)
            if version == len(MIGRATIONS):
                oldest_start = oldest(connection)
            else:
                problems.append(str(wrong_version(path, version)))
    except HistoryError as error:
        problems.append(str(error))
    return StoreReport(
        kind="sqlite",
        version=version,
        expected_version=len(MIGRATIONS),
        size_bytes=_size_bytes(path),
        oldest=oldest_start,
        problems=tuple(problems),
    )


def _problems_of_rights(path: Path) -> Iterator[str]:
    with suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield f"other users may use {path}: its mode is {mode:04o}; run `chmod 600 {path}`"
        for needed in (path, path.parent):
            if not os.access(needed, os.W_OK):
                yield f"this user may not write {needed}; each process that uses the history needs this right"


def _size_bytes(path: Path) -> int | None:
    """Return the size of the file and its write-ahead log."""
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return None
    with suppress(OSError):
        size_bytes += Path(f"{path}-wal").stat().st_size
    return size_bytes
