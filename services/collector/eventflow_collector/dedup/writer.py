"""Stores each event of a flow once, however often its sender repeats it within a time."""

import logging
from collections.abc import Sequence

import structlog
from typing_extensions import override

from eventflow.event import Event
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import Span
from eventflow_collector.dedup.window import Window, checksum_of, digest_of
from eventflow_collector.durable import DurableWriter, Stored, Writer
from eventflow_collector.intake import rejection
from eventflow_collector.intake.budget import Reservation
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.rejection import Rejection
from eventflow_collector.metrics import FlowMetrics

log = structlog.stdlib.get_logger()

Identity = tuple[str, str]
"""Source and id of an event: with its flow, its identity."""


class DedupWriter(Writer):
    """Stores the events of one flow, except repeats: events with an id that was stored within the window.

        unknown --first event--> pending --durable--> in the window --its time has passed--> unknown
                                    |
                                    `--its request has ended without it--> unknown

    A repeat of a pending id, a *twin*, waits for the first event. If that is stored, both are answered as accepted.
    Otherwise the twin is refused like the first, so that its sender repeats it too.

    Guarantee: a repeat is accepted only after an event of the same identity is durable. In every other case, including
    an internal error here, an event is published once too often, or refused.
    """

    def __init__(
        self, writer: DurableWriter, *, window: Window, metrics: FlowMetrics, internal_errors: InternalErrors
    ) -> None:
        """Store with `writer`, and remember the stored ids in `window`, which is of this flow alone."""
        self._writer = writer
        self._window = window
        self._metrics = metrics
        self._pending: dict[Identity, _Pending] = {}
        self.internal_errors = internal_errors
        self._logs_repeats = log.is_enabled_for(logging.DEBUG)

    @override
    def write(
        self, events: Sequence[Event], flow: Flow, *, reservation: Reservation, request: Span, stored: Stored
    ) -> None:
        if all(event.has_new_id for event in events):  # no repeat can come, so nothing is remembered
            self._writer.write(events, flow, reservation=reservation, request=request, stored=stored)
            return
        waiting = _Waiting(self, flow, request, stored)
        try:
            first = [event for event in events if self._is_first(event, waiting)]
            if not first:
                waiting.settle(None)
                return
            self._writer.write(
                first,
                flow,
                reservation=reservation,
                request=request,
                stored=waiting,
                on_durable=self._note_durable,
            )
        except BaseException:
            waiting.abandon()
            raise

    def forget_stored(self) -> None:
        """Accept every id as new, because the queue of the stored events was lost with its content."""
        self._window.clear()

    @harmless
    def tidy(self) -> None:
        """Release the memory of ids whose time has passed, and update the metric of those that are left."""
        self._window.drop_expired()
        self._metrics.dedup_ids.set(len(self._window))

    def give_up(self, pending: "_Pending") -> None:
        """Refuse the twins of an event that its request has not stored; nothing happens if it is durable."""
        # Another request may have begun the same id meanwhile, after a late confirm and the end of the window.
        if self._pending.get(pending.identity) is pending:
            pending.settle_twins(rejection.UNCONFIRMED)
            del self._pending[pending.identity]

    @harmless
    def record_repeats(self, repeats: Sequence["_Repeat"], flow: Flow, request: Span) -> None:
        """Count and log the repeats of an accepted request."""
        self._metrics.deduplicated.inc(len(repeats))
        request.note({"eventflow.deduplicated": len(repeats)})
        for event, is_same in repeats:
            if is_same and self._logs_repeats:
                log.debug("event.deduplicated", flow=flow.name, event_id=shown_id(event.id), same_body=True)
            elif not is_same:
                # Perhaps another event, whose sender has given it a used id: a person should know that it is dropped.
                self._metrics.dedup_bodies_differ.inc()
                log.warning("event.deduplicated", flow=flow.name, event_id=shown_id(event.id), same_body=False)

    def _is_first(self, event: Event, waiting: "_Waiting") -> bool:
        """Whether an event must be stored; a repeat is noted instead."""
        if event.has_new_id:
            return True
        identity, checksum = (event.source, event.id), checksum_of(event.body)
        pending = self._pending.get(identity)
        if pending is not None:  # perhaps of the same batch, which then waits for itself
            pending.twins.append(waiting)
            waiting.await_first(event, is_same=pending.checksum == checksum)
            return False
        digest = digest_of(*identity)
        stored_checksum = self._window.checksum(digest)
        if stored_checksum is not None:
            waiting.repeats.append((event, stored_checksum == checksum))
            return False
        self._pending[identity] = pending = _Pending(identity, digest, checksum)
        waiting.begun.append(pending)
        return True

    @harmless
    def _note_durable(self, event: Event) -> None:
        """Let an id enter the window, and accept its twins. Its own request may have been refused after a timeout."""
        if event.has_new_id:
            return
        identity = (event.source, event.id)
        pending = self._pending.get(identity)
        if pending is None:
            self._window.add(digest_of(*identity), checksum_of(event.body))
            return
        self._window.add(pending.digest, pending.checksum)
        pending.settle_twins(None)
        # Last: after an error above, the end of its request still finds it, and refuses the twins that are left.
        del self._pending[identity]


_Repeat = tuple[Event, bool]
"""A repeat, and whether it has the body of the first event."""


class _Pending:
    """An id whose event is being stored, and the requests that wait for it."""

    __slots__ = ("checksum", "digest", "identity", "twins")

    def __init__(self, identity: Identity, digest: bytes, checksum: int) -> None:
        self.identity = identity
        self.digest = digest
        self.checksum = checksum
        self.twins: list[_Waiting] = []

    def settle_twins(self, rejected: Rejection | None) -> None:
        """Settle the event for all twins. An error of one of them ends that one only."""
        while self.twins:
            twin = self.twins.pop()
            try:
                twin.settle(rejected)
            except Exception as error:  # noqa: BLE001 - see above
                twin.fail(error)


class _Waiting(Stored):
    """A request, until its own events are stored, and those that it shares with earlier requests.

    It waits no longer than the earlier ones: each pending id ends with the request that has begun it.

    Attributes:
        begun: The ids that it has begun.
        repeats: Its repeats so far.
    """

    __slots__ = ("_flow", "_is_ended", "_left", "_rejected", "_request", "_stored", "_writer", "begun", "repeats")

    def __init__(self, writer: DedupWriter, flow: Flow, request: Span, stored: Stored) -> None:
        self._writer = writer
        self._flow = flow
        self._request = request
        self._stored = stored
        self._left = 1  # for its own events
        self._is_ended = False
        self._rejected: Rejection | None = None
        self.begun: list[_Pending] = []
        self.repeats: list[_Repeat] = []

    def await_first(self, event: Event, *, is_same: bool) -> None:
        """Wait for one more event, whose repeat this request has."""
        self._left += 1
        self.repeats.append((event, is_same))

    def settle(self, rejected: Rejection | None) -> None:
        """Note that one of the events has been stored or refused; the last one ends the request."""
        self._left -= 1
        self._rejected = self._rejected or rejected
        if self._left == 0 and not self._is_ended:
            self._end()

    @override
    def stored(self, rejected: Rejection | None) -> None:
        self._give_up_begun()
        self.settle(rejected)

    @override
    def fail(self, error: Exception) -> None:
        is_ended = self._is_ended
        try:
            self.abandon()
        finally:
            if not is_ended:
                self._stored.fail(error)

    def abandon(self) -> None:
        """End without a result: the events that it waits for change nothing more."""
        self._is_ended = True
        self._give_up_begun()

    def _give_up_begun(self) -> None:
        for pending in self.begun:
            self._writer.give_up(pending)

    def _end(self) -> None:
        if self._rejected is None and self.repeats:
            self._writer.record_repeats(self.repeats, self._flow, self._request)
        self._stored.stored(self._rejected)
        self._is_ended = True  # only now: an error before this still fails the request
