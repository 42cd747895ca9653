"""The order of the turns."""

from dataclasses import dataclass
from datetime import UTC, datetime

from eventflow.event import Event
from eventflow.message import Envelope
from eventflow.topology import Lane
from eventflow_processor.lanes import Lanes

NOW = datetime(2025, 7, 13, 21, 34, 44, 573000, tzinfo=UTC)
EVENT = Event(id="e", source="s", type="t", time=NOW, accepted_at=NOW, body=b"")


@dataclass(slots=True)
class Waiting:
    """A delivery as the lanes see it."""

    lane: Lane
    number: int = 0
    is_current: bool = True

    @property
    def envelope(self) -> Envelope:
        return Envelope(event=EVENT)


def lanes_with(**counts: int) -> Lanes:
    lanes = Lanes(due_share=0.5, replay_share=0.2)
    for lane, count in counts.items():
        for number in range(count):
            lanes.put(Waiting(Lane[lane.upper()], number))  # type: ignore[arg-type]  # the part that lanes use
    return lanes


def turns(lanes: Lanes, count: int) -> list[Lane]:
    return [delivery.lane for _ in range(count) if (delivery := lanes.take()) is not None]


def test_a_retry_goes_before_the_backlog() -> None:
    assert turns(lanes_with(live=100, due=1), 2) == [Lane.DUE, Lane.LIVE]


def test_a_probe_takes_an_event_that_has_not_failed_before_while_there_is_one() -> None:
    lanes = lanes_with(due=2, live=1)
    taken = [lanes.take_other_than(()) for _ in range(3)]
    assert [delivery.lane for delivery in taken if delivery] == [Lane.LIVE, Lane.DUE, Lane.DUE]


def test_due_gets_at_most_half_and_replay_a_fifth_while_live_events_wait() -> None:
    taken = turns(lanes_with(live=1000, due=1000, replay=1000), 1000)
    assert 495 <= taken.count(Lane.DUE) <= 502
    assert 195 <= taken.count(Lane.REPLAY) <= 202


def test_all_turns_are_used_when_no_live_event_waits() -> None:
    assert turns(lanes_with(due=3, replay=3), 10) == [Lane.DUE] * 3 + [Lane.REPLAY] * 3


def test_an_idle_lane_saves_no_turns() -> None:
    lanes = lanes_with(live=1000)
    turns(lanes, 500)
    for number in range(100):
        lanes.put(Waiting(Lane.DUE, number))  # type: ignore[arg-type]
    assert turns(lanes, 100).count(Lane.DUE) <= 51


def test_each_lane_is_fifo_and_drops_what_its_lost_channel_delivered() -> None:
    lanes = lanes_with(live=5)
    first = lanes.take()
    assert first is not None
    stale = lanes.take()
    assert stale is not None
    lanes.put(Waiting(Lane.LIVE, 5, is_current=False))  # type: ignore[arg-type]
    lanes.put(Waiting(Lane.LIVE, 6))  # type: ignore[arg-type]
    assert [delivery.number for _ in range(9) if (delivery := lanes.take())] == [2, 3, 4, 6]  # type: ignore[attr-defined]


def test_an_arrival_is_reported_after_it_can_be_taken() -> None:
    lanes, seen = lanes_with(), []
    assert lanes.is_empty
    lanes.on_arrival = lambda: seen.append(lanes.is_empty)
    lanes.put(Waiting(Lane.LIVE))  # type: ignore[arg-type]
    lanes.put_first(Waiting(Lane.DUE))  # type: ignore[arg-type]
    assert seen == [False, False]
