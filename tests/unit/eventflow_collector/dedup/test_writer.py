"""The dedup writer over a scripted store: no repeat is accepted before an event of its identity is durable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from eventflow.event import Event, new_event_id
from eventflow.settings.root import Settings
from eventflow.telemetry.tracing import UNRECORDED
from eventflow_collector.dedup.window import Window
from eventflow_collector.dedup.writer import DedupWriter
from eventflow_collector.durable import Stored
from eventflow_collector.intake import rejection
from eventflow_collector.intake.budget import ByteBudget, Reservation
from eventflow_collector.intake.flow import flow_of
from eventflow_collector.intake.rejection import Rejection
from eventflow_collector.metrics import CollectorMetrics

FLOW = flow_of("default", Settings())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LENGTH_S = 10.0


def event(event_id: str | None = None, *, body: bytes = b"{}", source: str = "/s") -> Event:
    return Event(
        id=event_id or new_event_id(),
        source=source,
        type="t",
        time=NOW,
        accepted_at=NOW,
        body=body,
        has_new_id=event_id is None,
    )


@dataclass(eq=False)
class Write:
    """One request at the store, which the test ends."""

    events: Sequence[Event]
    stored: Stored
    on_durable: Callable[[Event], object]
    durable: set[str] = field(default_factory=set)
    is_ended: bool = False

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.events]

    def confirm(self, *ids: str) -> None:
        for one in self.events:
            if one.id in (ids or self.ids):
                self.durable.add(one.id)
                self.on_durable(one)
        if self.durable >= set(self.ids) and not self.is_ended:
            self.end(None)

    def end(self, rejected: Rejection | None) -> None:
        self.is_ended = True
        self.stored.stored(rejected)

    def fail(self, error: Exception) -> None:
        self.is_ended = True
        self.stored.fail(error)


class Store:
    """Stands for the durable writer."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.error: Exception | None = None

    def write(
        self,
        events: Sequence[Event],
        _: object,
        *,
        stored: Stored,
        on_durable: Callable[[Event], object] = lambda _: None,
        **__: Any,
    ) -> None:
        if self.error is not None:
            raise self.error
        self.writes.append(Write(events, stored, on_durable))


class Answer(Stored):
    """The end of a request."""

    def __init__(self, ids: Sequence[str], bench: "Bench") -> None:
        self.ids = ids
        self.ends: list[Rejection | Exception | None] = []
        self._bench = bench

    @property
    def is_accepted(self) -> bool:
        return self.ends == [None]

    @override
    def stored(self, rejected: Rejection | None) -> None:
        self.ends.append(rejected)
        if rejected is None:
            assert set(self.ids) <= self._bench.durable, "accepted without a durable event"

    @override
    def fail(self, error: Exception) -> None:
        self.ends.append(error)


class Bench:
    """A dedup writer with its store and its clock."""

    def __init__(self, *, max_ids: int = 1000) -> None:
        self.now_s = 1000.0
        self.store = Store()
        self.metrics = CollectorMetrics(["default"])
        self.writer = DedupWriter(
            self.store,  # type: ignore[arg-type]  # the part that is used
            window=Window(
                length_s=LENGTH_S,
                max_ids=max_ids,
                clock=lambda: self.now_s,
                on_evicted=self.metrics.flows["default"].dedup_ids_evicted.inc,
            ),
            metrics=self.metrics.flows["default"],
            internal_errors=self.metrics.internal_errors,
        )

    @property
    def durable(self) -> set[str]:
        return set().union(*(write.durable for write in self.store.writes))

    @property
    def published(self) -> list[list[str]]:
        return [write.ids for write in self.store.writes]

    def send(self, *events: Event) -> Answer:
        answer = Answer([one.id for one in events if not one.has_new_id], self)
        reservation = Reservation(ByteBudget(1_000_000))
        self.writer.write(events, FLOW, reservation=reservation, request=UNRECORDED, stored=answer)
        return answer

    def count(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"eventflow_{name}_total", {"flow": "default"}) or 0.0


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_repeat_within_the_window_is_accepted_and_not_published(bench: Bench) -> None:
    bench.send(event("1"))
    bench.store.writes[0].confirm()
    assert bench.send(event("1")).is_accepted
    bench.now_s += LENGTH_S
    late = bench.send(event("1"))
    assert late.ends == []
    assert bench.published == [["1"], ["1"]]
    assert bench.count("events_deduplicated") == 1


def test_a_twin_is_accepted_when_the_first_event_is_durable_and_not_before(bench: Bench) -> None:
    first, twin = bench.send(event("1")), bench.send(event("1"))
    assert (first.ends, twin.ends) == ([], [])
    bench.store.writes[0].confirm()
    assert first.is_accepted
    assert twin.is_accepted
    assert bench.published == [["1"]]
    assert bench.count("events_deduplicated") == 1


@pytest.mark.parametrize("end", [rejection.UNCONFIRMED, rejection.event_too_large(5), RuntimeError("a bug")])
def test_twins_of_an_event_that_is_not_stored_are_refused_so_that_they_are_repeated(
    bench: Bench, end: Rejection | Exception
) -> None:
    first, twin = bench.send(event("1")), bench.send(event("1"))
    write = bench.store.writes[0]
    write.fail(end) if isinstance(end, Exception) else write.end(end)
    assert first.ends == [end]
    assert twin.ends == [rejection.UNCONFIRMED]  # never 413: its body may be smaller
    assert bench.send(event("1")).ends == []
    assert bench.published == [["1"], ["1"]]
    assert bench.count("events_deduplicated") == 0


def test_a_confirm_after_the_refusal_lets_the_id_enter_the_window(bench: Bench) -> None:
    bench.send(event("1"))
    bench.store.writes[0].end(rejection.UNCONFIRMED)
    bench.store.writes[0].confirm()
    assert bench.send(event("1")).is_accepted
    assert bench.published == [["1"]]


def test_a_late_confirm_accepts_the_twins_of_the_next_event_too(bench: Bench) -> None:
    bench.send(event("1"))
    bench.store.writes[0].end(rejection.UNCONFIRMED)
    again, twin = bench.send(event("1")), bench.send(event("1"))
    bench.store.writes[0].confirm()
    assert (again.ends, twin.is_accepted) == ([], True)
    bench.store.writes[1].end(rejection.UNCONFIRMED)
    assert again.ends == [rejection.UNCONFIRMED]
    assert bench.send(event("1")).is_accepted


def test_the_end_of_an_older_request_refuses_no_twin_of_a_newer_one() -> None:
    bench = Bench(max_ids=1)
    bench.send(event("1"))
    bench.store.writes[0].end(rejection.UNCONFIRMED)
    bench.send(event("1"))
    bench.store.writes[0].confirm()  # ends the wait for the second one
    bench.send(event("other"))
    bench.store.writes[2].confirm()  # the window has room for one id
    bench.send(event("1"))
    twin = bench.send(event("1"))
    bench.store.writes[1].end(rejection.UNCONFIRMED)
    assert twin.ends == []
    bench.store.writes[3].confirm()
    assert twin.is_accepted
    assert bench.count("dedup_ids_evicted") == 2


def test_a_batch_publishes_only_the_events_that_are_new(bench: Bench) -> None:
    bench.send(event("seen"))
    bench.store.writes[0].confirm()
    pending = bench.send(event("pending"))
    batch = bench.send(event("seen"), event("a"), event("pending"), event(), event("a"))
    assert bench.store.writes[2].ids[0] == "a"
    assert len(bench.store.writes[2].events) == 2
    bench.store.writes[2].confirm()
    assert batch.ends == []
    bench.store.writes[1].confirm()
    assert pending.is_accepted
    assert batch.is_accepted
    assert bench.count("events_deduplicated") == 3


def test_the_stored_part_of_a_refused_batch_is_not_published_again(bench: Bench) -> None:
    bench.send(event("a"), event("b"))
    bench.store.writes[0].confirm("a")
    bench.store.writes[0].end(rejection.UNCONFIRMED)
    again = bench.send(event("a"), event("b"))
    assert bench.published == [["a", "b"], ["b"]]
    bench.store.writes[1].confirm()
    assert again.is_accepted


def test_a_batch_with_one_id_twice_publishes_it_once_and_waits_for_it(bench: Bench) -> None:
    batch = bench.send(event("a"), event("a"))
    assert bench.published == [["a"]]
    assert batch.ends == []
    bench.store.writes[0].confirm()
    assert batch.is_accepted
    refused = bench.send(event("b"), event("b"))
    bench.store.writes[1].end(rejection.UNCONFIRMED)
    assert refused.ends == [rejection.UNCONFIRMED]


def test_the_first_event_wins_over_one_with_another_body_which_is_counted(bench: Bench) -> None:
    bench.send(event("1", body=b"one"))
    bench.send(event("1", body=b"another"))
    bench.store.writes[0].confirm()
    bench.send(event("1", body=b"one"))
    bench.send(event("1", body=b"another"))
    assert bench.published == [["1"]]
    assert bench.count("events_deduplicated") == 3
    assert bench.count("dedup_bodies_differ") == 2


def test_the_same_id_of_another_source_is_another_event(bench: Bench) -> None:
    bench.send(event("1"))
    bench.store.writes[0].confirm()
    assert bench.send(event("1", source="/other")).ends == []
    assert bench.published == [["1"], ["1"]]


def test_ids_that_the_collector_has_made_do_not_enter(bench: Bench) -> None:
    bench.send(event())
    bench.store.writes[0].confirm()
    bench.writer.tidy()
    assert bench.metrics.registry.get_sample_value("eventflow_dedup_ids", {"flow": "default"}) == 0


def test_every_id_is_new_after_the_loss_of_the_queue(bench: Bench) -> None:
    bench.send(event("1"))
    bench.store.writes[0].confirm()
    bench.writer.forget_stored()
    assert bench.send(event("1")).ends == []


def test_an_error_of_the_store_leaves_nothing_pending(bench: Bench) -> None:
    bench.store.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        bench.send(event("1"), event("1"))
    bench.store.error = None
    assert bench.send(event("1")).ends == []
    bench.store.writes[0].confirm()
    assert bench.send(event("1")).is_accepted


def test_an_error_in_the_answer_to_a_twin_affects_no_other_request(bench: Bench) -> None:
    first, twin, other = bench.send(event("1")), bench.send(event("1")), bench.send(event("1"))

    def broken(_: Rejection | None) -> None:
        raise RuntimeError("a bug")

    twin.stored = broken  # type: ignore[method-assign]
    bench.store.writes[0].confirm()
    assert first.is_accepted
    assert [str(end) for end in twin.ends] == ["a bug"]
    assert other.is_accepted


ids = st.none() | st.sampled_from("abc")
sequences = st.lists(
    st.tuples(st.just("send"), st.lists(ids, min_size=1, max_size=4))
    | st.tuples(st.sampled_from(["confirm one", "refuse", "fail"]), st.integers(0, 9))
    | st.tuples(st.just("wait"), st.floats(0, 6))
    | st.tuples(st.just("lose the queue"), st.none()),
    max_size=40,
)


@given(sequences, st.sampled_from([1, 1000]))
@settings(max_examples=400, deadline=None)
def test_each_request_ends_once_and_is_accepted_only_with_durable_events(steps: list, max_ids: int) -> None:
    """`Answer` checks that each accepted event is durable by then."""
    bench = Bench(max_ids=max_ids)
    answers = []
    for step, value in steps:
        writes = bench.store.writes
        open_writes = [write for write in writes if not write.is_ended]
        match step:
            case "send":
                answers.append(bench.send(*map(event, value)))
            case "confirm one" if writes:  # in time or late
                write = writes[value % len(writes)]
                write.confirm(write.ids[value % len(write.ids)])
            case "refuse" if open_writes:
                open_writes[value % len(open_writes)].end(rejection.UNCONFIRMED)
            case "fail" if open_writes:
                open_writes[value % len(open_writes)].fail(RuntimeError("a bug"))
            case "wait":
                bench.now_s += value
            case "lose the queue":
                bench.writer.forget_stored()
    for write in bench.store.writes:
        assert len(write.ids) == len(set(write.ids))
        if not write.is_ended:
            write.end(rejection.UNCONFIRMED)
    assert all(len(answer.ends) == 1 for answer in answers)
    assert not bench.writer._pending


@given(st.lists(st.sampled_from("abc"), max_size=12), st.data())
@settings(deadline=None)
def test_an_id_is_published_once_while_it_is_pending_or_in_the_window(sent: list[str], data: st.DataObject) -> None:
    bench = Bench()
    answers = [bench.send(event(event_id)) for event_id in sent]
    writes = bench.store.writes
    assert sorted(write.ids[0] for write in writes) == sorted(set(sent))
    for write in data.draw(st.permutations(writes)):
        write.confirm()
    assert all(answer.is_accepted for answer in answers)
    assert all(bench.send(event(event_id)).is_accepted for event_id in sent)
    assert len(bench.store.writes) == len(set(sent))
