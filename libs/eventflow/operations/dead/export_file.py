"""A file of exported dead letters, to send the events again."""

from collections.abc import Iterator
from typing import BinaryIO

from eventflow.errors import EventFlowError
from eventflow.message import Envelope
from eventflow.operations.dead.exports import envelope_of


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
                    raise EventFlowError(f"{name}, line {number}: {error}. Nothing was sent.") from error
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
            raise EventFlowError(f"the file was changed while it was read: {error}") from error
        if envelope.event.id != event_id:  # its dead letter would be deleted for another event
            raise EventFlowError(f"the file was changed while it was read: {event_id} has another place")
        return envelope
