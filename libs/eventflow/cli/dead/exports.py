"""Exported dead letters: one JSON object per line. A file of them, edited or not, can be sent again."""

import base64
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

from eventflow.amqp.browser import Browsed
from eventflow.cli.console import printable
from eventflow.cli.dead.dead_letters import record_of
from eventflow.errors import EventFlowError
from eventflow.event import Event, format_time, is_valid_attribute, parse_time, utc_now
from eventflow.message import Envelope

STANDARD_STREAM = "-"
OWNER_ONLY = 0o600


def exported(letter: Browsed, flow: str) -> dict[str, Any]:
    """Return a dead letter as a JSON object that has everything to send the event again."""
    event = letter.envelope.event
    return {
        "flow": flow,
        **record_of(letter),
        "accepted_at": format_time(event.accepted_at),
        "subject": event.subject,
        "traceparent": event.traceparent,
    }


def envelope_of(line: bytes, flow: str) -> Envelope:
    """Return the event in a line of an export, without attempts.

    Fields that describe the failures are ignored, and so are unknown fields.

    Raises:
        ValueError: It is not such a line, or is of another flow; the text gives the reason.
    """
    record = _json_object(line)
    if record.get("flow", flow) != flow:
        raise ValueError(f"it is of the flow {record['flow']!r}: name that flow by --flow, or remove the field")
    event_id = _attribute(record, "id")
    if event_id is None:
        raise ValueError("id is missing")
    accepted_at = _time(record, "accepted_at") or utc_now()
    return Envelope(
        event=Event(
            id=event_id,
            source=_required(record, "source"),
            type=_required(record, "type"),
            time=_time(record, "time") or accepted_at,
            accepted_at=accepted_at,
            body=_body(record),
            content_type=_attribute(record, "content_type"),
            subject=_attribute(record, "subject"),
            traceparent=_attribute(record, "traceparent"),
        ),
        content_encoding=_attribute(record, "content_encoding"),
    )


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
        return self._read(places.pop(0)) if places else None

    def take_rest(self) -> Iterator[Envelope]:
        """Yield the events that were not taken yet, in the order of the file."""
        for place in sorted(place for places in self._places.values() for place in places):
            yield self._read(place)
        self._places.clear()

    def _read(self, place: int) -> Envelope:
        self._stream.seek(place)
        try:
            return envelope_of(self._stream.readline(), self._flow)
        except ValueError as error:
            raise EventFlowError(f"the file was changed while it was read: {printable(str(error))}") from error


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
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        os.link(part, file)  # unlike a rename, it never replaces a file
        part.unlink()
    except FileExistsError as error:
        raise EventFlowError(f"{error.filename2 or error.filename} exists, and no export overwrites a file") from error
    except OSError as error:
        raise EventFlowError(f"cannot write {file}: {error.strerror}") from error


def _require_absent(file: Path) -> None:
    if os.path.lexists(file):
        raise FileExistsError(None, None, str(file))


def _new_file(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w", encoding="utf-8")


def _json_object(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("a JSON object is expected")  # noqa: TRY004 - a wrong line, as any other
    return record


def _attribute(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and not (isinstance(value, str) and is_valid_attribute(value)):
        raise ValueError(f"{name} is not a text of 1 to 255 bytes of printable characters")
    return value


def _required(record: Mapping[str, Any], name: str) -> str:
    value = _attribute(record, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _time(record: Mapping[str, Any], name: str) -> datetime | None:
    value = record.get(name)
    moment = parse_time(value) if isinstance(value, str) else None
    if moment is None and value is not None:
        raise ValueError(f"{name} is not a time such as 2026-11-28T02:00:00.000Z")
    return moment


def _body(record: Mapping[str, Any]) -> bytes:
    match record:
        case {"body": _, "body_base64": _}:
            raise ValueError("body and body_base64 are both set: keep one of them")
        case {"body": str(text)}:
            return _encoded(text)
        case {"body_base64": str(text)}:
            return _decoded(text)
        case {"body": _} | {"body_base64": _}:
            raise ValueError("the body is not a text; JSON in a body is written as a string (tojson in jq)")
    raise ValueError("body is missing")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("the body has a character that UTF-8 cannot encode") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("body_base64 is not base64") from None
