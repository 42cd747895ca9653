"""Files of exported dead letters: written once, checked as a whole, and read again."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from eventflow.cli.console import printable
from eventflow.cli.dead.exports import envelope_of
from eventflow.errors import EventFlowError
from eventflow.message import Envelope

STANDARD_STREAM = "-"
OWNER_ONLY = 0o600


class ExportFile:
    """A file of exported dead letters, all of which were checked. Only the place of each line is in memory."""

    def __init__(self, stream: BinaryIO, name: str, flow: str) -> None:
        """Check each line.

        Args:
            stream: The file, which can be read from any position.
            name: Name of the file in errors.
            flow: The flow to which the events are to be sent.

        Raises:
            EventFlowError: A line is wrong; the message has its number.
        """
        self._stream = stream
        self._flow = flow
        self._places: dict[str, list[int]] = {}
        self.lines = 0
        place = 0
        for number, line in enumerate(stream, start=1):
            if line.strip():
                try:
                    event_id = envelope_of(line, flow).event.id
                except ValueError as error:
                    reason = printable(str(error))
                    raise EventFlowError(f"{name}, line {number}: {reason}. Nothing was sent.") from error
                self._places.setdefault(event_id, []).append(place)
                self.lines += 1
            place += len(line)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all events in it."""
        return frozenset(self._places)

    def take(self, event_id: str) -> Envelope | None:
        """Return the next event with this id; None if all of them were taken."""
        places = self._places.get(event_id)
        return self._read(places.pop(0), event_id) if places else None

    def take_rest(self) -> Iterator[Envelope]:
        """Yield the events that were not taken yet, in the order of the file."""
        left = [(place, event_id) for event_id, places in self._places.items() for place in places]
        for place, event_id in sorted(left):
            yield self._read(place, event_id)
        self._places.clear()

    def _read(self, place: int, event_id: str) -> Envelope:
        self._stream.seek(place)
        try:
            envelope = envelope_of(self._stream.readline(), self._flow)
        except ValueError as error:
            raise EventFlowError(f"the file was changed while it was read: {printable(str(error))}") from error
        if envelope.event.id != event_id:  # its dead letter would be deleted for another event
            raise EventFlowError(f"the file was changed while it was read: {printable(event_id)} has another place")
        return envelope


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
                os.fsync(sink.fileno())  # the dead letters may be purged next
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
