"""Several flows on one connection: each session fails alone. And a flow without events rests until its next one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from eventflow.amqp import consumer as consumers
from eventflow.amqp import trials
from eventflow.amqp.channel import closed_channel, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.consumer import Consumer
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import QueueDepth
from eventflow.amqp.session import EndingLog, Session
from eventflow.amqp.shared import STARTS_MAX, Seat, SharedConnection
from eventflow.amqp.trials import TRIALS_MAX, Trials
from eventflow.delivery import Delivery
from eventflow.errors import BrokerUnavailableError, DeliveryLostError, TopologyMismatchError
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, flow_specs, lane_queue
from sandbox.ports import free_port
from tests.integration.test_too_large import Held
from tests.support.amqp import Amqp
from tests.support.wait import eventually


@dataclass(slots=True)
class Notes:
    """A listener that remembers."""

    joins: int = 0
    rests: list[bool] = field(default_factory=list)
    proved: int = 0
    unproved: int = 0

    def joined(self) -> None:
        self.joins += 1

    def depth_measured(self, lane: Lane, depth: QueueDepth, *, began_s: float, is_proved: bool) -> None:
        self.proved += is_proved
        self.unproved += not is_proved

    def rested(self, *, is_resting: bool) -> None:
        self.rests.append(is_resting)

    def left(self) -> None: ...

    def stuck(self, deliveries: int) -> None: ...


class Accepting:
    """Settles each delivery at once."""

    def put(self, delivery: Delivery) -> None:
        delivery.ack()


@dataclass(slots=True)
class Consuming:
    """A flow that is consumed."""

    flow: str
    consumer: Consumer
    notes: Notes
    sink: Held


@asynccontextmanager
async def consuming(
    broker_url: str, shared: SharedConnection, *flows: str, rest_poll_s: float = 600.0, prefetch: int = 10
) -> AsyncIterator[list[Consuming]]:
    """Consume flows on one connection."""
    publisher = Publisher([broker_url], specs=[], name="publish")
    parts = []
    for flow in flows:
        notes, sink = Notes(), Held()
        consumer = Consumer(
            shared.seat(name=flow),
            flow=flow,
            specs=flow_specs(flow, (1,)),
            prefetch=dict.fromkeys(Lane, prefetch),
            sink=sink,
            publisher=publisher,
            listener=notes,
            held_max_s=60,
            rest_poll_s=rest_poll_s,
        )
        parts.append(Consuming(flow, consumer, notes, sink))
    connected = [asyncio.create_task(service.run()) for service in (publisher, shared)]
    running = [asyncio.create_task(each.consumer.run()) for each in parts]
    try:
        await eventually(lambda: all(each.notes.joins for each in parts), what="all consume")
        yield parts
    finally:
        await cancel_and_wait(*running)
        await cancel_and_wait(*connected)


async def answered(_: Connection) -> None:
    """A trial that succeeds at once."""


async def test_a_flow_whose_queue_is_deleted_starts_anew_and_the_other_on_its_connection_does_not(
    broker_url: str, flow: str, amqp: Amqp
) -> None:
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, f"{flow}a", f"{flow}b") as (one, two):
        await amqp.delete(lane_queue(one.flow, Lane.LIVE))
        await eventually(lambda: one.notes.joins == 2, what="a new session of its flow")
        await amqp.publish(lane_queue(one.flow, Lane.LIVE), *amqp.messages(1))
        await amqp.publish(lane_queue(two.flow, Lane.LIVE), *amqp.messages(1))
        await eventually(lambda: one.sink.deliveries and two.sink.deliveries, what="events of both")
        assert two.notes.joins == 1
        for each in (one, two):
            each.sink.deliveries[0].ack()
    assert await amqp.depth(lane_queue(one.flow, Lane.LIVE)) == 0


async def test_a_flow_that_leaves_requeues_what_it_has_and_its_connection_goes_on(
    broker_url: str, flow: str, amqp: Amqp
) -> None:
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, f"{flow}a", f"{flow}b") as (one, two):
        await amqp.publish(lane_queue(one.flow, Lane.LIVE), *amqp.messages(1))
        await eventually(lambda: one.sink.deliveries, what="the delivery")
        leaving = asyncio.create_task(one.consumer.run())  # a second one, which is cancelled as `take_part` does
        await cancel_and_wait(leaving)
        await one.consumer.stop()
        await one.consumer.close()
        assert await amqp.consumers(lane_queue(one.flow, Lane.LIVE)) == 0
        assert await amqp.depth(lane_queue(one.flow, Lane.LIVE)) == 1
        assert (two.notes.joins, two.consumer.is_consuming) == (1, True)


async def test_attempts_that_end_while_their_session_ends_do_not_cost_the_others_their_connection(
    broker_url: str, flow: str, amqp: Amqp
) -> None:
    """RabbitMQ closes the whole connection after an ack for a channel that is closed."""
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, f"{flow}a", f"{flow}b", prefetch=1000) as (one, two):
        await amqp.publish(lane_queue(one.flow, Lane.LIVE), *amqp.messages(1000))
        await eventually(lambda: len(one.sink.deliveries) == 1000, what="the deliveries")
        one.consumer._cancelled.set()  # as if the broker had cancelled a consumer
        for delivery in tuple(one.sink.deliveries):
            with suppress(DeliveryLostError):
                delivery.ack()
            await asyncio.sleep(0)
        await eventually(lambda: one.notes.joins == 2, what="a new session of its flow")
        assert (two.notes.joins, two.consumer.is_consuming) == (1, True)


async def test_all_flows_start_anew_after_the_loss_of_their_connection(broker_url: str, flow: str) -> None:
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, f"{flow}a", f"{flow}b") as parts:
        assert shared._connection is not None
        shared._connection.wire.abort()
        await eventually(lambda: [each.notes.joins for each in parts] == [2, 2], what="new sessions of both")


async def test_a_connection_is_replaced_when_a_session_fails_and_no_other_has_reached_a_majority(
    broker_url: str,
) -> None:
    shared = SharedConnection([broker_url], name="shared")
    seen: list[Connection] = []

    def failing(seat: Seat, *, proves: bool) -> asyncio.Task[None]:
        async def session(connection: Connection) -> None:
            if proves:
                seat.note_proof()
                await asyncio.sleep(60)
            seen.append(connection)
            raise BrokerUnavailableError("no majority")

        return asyncio.create_task(seat.keep(session, trial=answered))

    running = [asyncio.create_task(shared.run()), failing(shared.seat(name="working"), proves=True)]
    try:
        await eventually(lambda: shared.proved_at_s() > 0, what="a proof")
        running.append(failing(shared.seat(name="failing"), proves=False))
        await eventually(lambda: len(seen) == 2, what="two failures")
        assert seen[0] is seen[1], "another session works on it"
        await cancel_and_wait(running[1])
        await eventually(lambda: len({id(connection) for connection in seen}) > 1, what="another connection")
    finally:
        await cancel_and_wait(*running)


async def test_a_session_that_fails_at_once_does_not_end_the_first_sessions_of_the_others(broker_url: str) -> None:
    shared = SharedConnection([broker_url], name="shared")
    slow, failing = shared.seat(name="slow"), shared.seat(name="failing")
    begun: list[Connection] = []
    failed: list[Connection] = []

    async def prove_late(connection: Connection) -> None:
        begun.append(connection)
        await eventually(lambda: len(failed) == 2, what="two failures of the other")
        slow.note_proof()
        await asyncio.sleep(60)

    async def fail(connection: Connection) -> None:
        failed.append(connection)
        raise BrokerUnavailableError("its own queue is broken")

    running = [
        asyncio.create_task(task)
        for task in (shared.run(), slow.keep(prove_late, trial=answered), failing.keep(fail, trial=answered))
    ]
    try:
        await eventually(lambda: slow.proved_at_s > 0, what="the proof")
        assert begun == [failed[0]] == [failed[1]]
    finally:
        await cancel_and_wait(*running)


async def test_a_connection_on_which_all_first_sessions_have_failed_is_replaced(broker_url: str) -> None:
    shared = SharedConnection([broker_url], name="shared")
    failed: list[Connection] = []

    async def fail(connection: Connection) -> None:
        failed.append(connection)
        raise BrokerUnavailableError("no majority")

    keeping = [shared.seat(name=name).keep(fail, trial=answered) for name in ("one", "two")]
    running = [asyncio.create_task(task) for task in (shared.run(), *keeping)]
    try:
        await eventually(lambda: len({id(connection) for connection in failed}) == 2, what="another connection")
        assert failed[0] is failed[1]
    finally:
        await cancel_and_wait(*running)


async def test_a_few_sessions_start_at_a_time_and_all_start(broker_url: str) -> None:
    shared = SharedConnection([broker_url], name="shared")
    starting: set[Seat] = set()
    started: set[Seat] = set()
    most = 0

    async def run(seat: Seat, number: int) -> None:
        async def session(_: Connection) -> None:
            nonlocal most
            starting.add(seat)
            most = max(most, len(starting))
            await asyncio.sleep(0.01)
            starting.remove(seat)
            if number % 5 == 0:
                raise BrokerUnavailableError("its own queue is broken")
            seat.note_proof()
            started.add(seat)
            await asyncio.sleep(60)

        await seat.keep(session, trial=answered)

    seats = [shared.seat(name=str(number)) for number in range(5 * STARTS_MAX)]
    running = [asyncio.create_task(shared.run())]
    running += [asyncio.create_task(run(seat, number)) for number, seat in enumerate(seats)]
    try:
        await eventually(lambda: len(started) == 4 * STARTS_MAX, what="all that can start")
        assert most == STARTS_MAX
    finally:
        await cancel_and_wait(*running)


async def test_sessions_that_fail_while_others_work_make_a_trial_a_few_at_a_time_before_they_start_again(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "TRIAL_PAUSE_S", 0.01)
    shared = SharedConnection([broker_url], name="shared")
    tried: list[Connection] = []
    trying = [0, 0]  # first trials, and repeated ones
    most = [0, 0]

    async def prove(_: Connection) -> None:
        working.note_proof()
        await asyncio.sleep(60)

    async def run(seat: Seat) -> None:
        made = 0

        async def session(connection: Connection) -> None:
            assert connection not in tried
            if made == 0:
                raise BrokerUnavailableError("its own queue is broken")

        async def trial(connection: Connection) -> None:
            nonlocal made
            tried.append(connection)
            kind, made = min(made, 1), made + 1
            trying[kind] += 1
            most[kind] = max(most[kind], trying[kind])
            await asyncio.sleep(0.1)
            trying[kind] -= 1
            if made <= 2:
                raise BrokerUnavailableError("still broken")

        await seat.keep(session, trial=trial)

    working = shared.seat(name="working")
    running = [asyncio.create_task(each) for each in (shared.run(), working.keep(prove, trial=answered))]
    try:
        await eventually(lambda: shared.proved_at_s() > 0, what="a proof")
        failing = 3 * TRIALS_MAX
        async with asyncio.timeout(20):
            await asyncio.gather(*(run(shared.seat(name=f"failing {number}")) for number in range(failing)))
        assert len(tried) == 3 * failing
        assert most == [TRIALS_MAX, TRIALS_MAX]
        assert all(connection.wire.is_lost for connection in tried)
    finally:
        await cancel_and_wait(*running)


async def test_with_a_broker_that_is_down_the_first_trial_does_not_wait_for_repeated_ones_of_other_flows(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "TRIAL_PAUSE_S", 0.01)
    down = f"amqp://127.0.0.1:{free_port()}/"
    together, failed = Trials([down, broker_url], advice=""), 0

    async def try_in_vain(_: Connection) -> None:
        nonlocal failed
        failed += 1
        if failed > TRIALS_MAX:
            await asyncio.sleep(60)
        raise BrokerUnavailableError("no majority")

    def start(trial: Session) -> asyncio.Task[None]:
        return asyncio.create_task(together.until_answered(trial, EndingLog("trial"), name="trial"))

    running = [start(try_in_vain) for _ in range(TRIALS_MAX)]
    try:
        await eventually(lambda: failed == 2 * TRIALS_MAX, what="repeated trials")
        async with asyncio.timeout(5):
            await start(answered)
    finally:
        await cancel_and_wait(*running)


async def test_flows_without_a_recent_proof_make_a_trial_after_the_loss_of_a_connection_with_an_unanswered_request(
    broker_url: str,
) -> None:
    shared = SharedConnection([broker_url], name="shared")
    working, resting, failing = (shared.seat(name=name) for name in ("working", "resting", "failing"))
    sessions: list[Seat] = []
    tried: list[Seat] = []

    def keep(seat: Seat, *, proves: bool, fails: bool = False) -> asyncio.Task[None]:
        async def session(connection: Connection) -> None:
            sessions.append(seat)
            seat.note_request()
            if proves:
                seat.note_proof()
            if fails:
                await eventually(lambda: working.proved_at_s > 0, what="a proof")
                raise BrokerUnavailableError("no majority")
            async with closed_channel(connection) as channel:
                await until_closed(channel)

        async def trial(_: Connection) -> None:
            tried.append(seat)
            await asyncio.sleep(60 if fails else 0)

        return asyncio.create_task(seat.keep(session, trial=trial))

    running = [keep(working, proves=True), keep(resting, proves=False), keep(failing, proves=False, fails=True)]
    running.append(asyncio.create_task(shared.run()))
    try:
        await eventually(lambda: tried == [failing] and resting in sessions, what="the first trial")
        assert shared._connection is not None
        shared._connection.wire.abort()
        await eventually(lambda: len(sessions) == 5, what="new sessions of the others")
        assert tried == [failing, resting]
    finally:
        await cancel_and_wait(*running)


async def test_a_queue_with_other_arguments_ends_the_trials_with_an_error(broker_url: str) -> None:
    shared = SharedConnection([broker_url], name="shared")
    working, failing = shared.seat(name="working"), shared.seat(name="failing")

    async def prove(_: Connection) -> None:
        working.note_proof()
        await asyncio.sleep(60)

    async def fail(_: Connection) -> None:
        await eventually(lambda: working.proved_at_s > 0, what="a proof")
        raise BrokerUnavailableError("its own queue is broken")

    async def mismatch(_: Connection) -> None:
        raise TopologyMismatchError("other arguments")

    running = [asyncio.create_task(each) for each in (shared.run(), working.keep(prove, trial=answered))]
    try:
        with pytest.raises(TopologyMismatchError):
            await failing.keep(fail, trial=mismatch)
    finally:
        await cancel_and_wait(*running)


async def test_sessions_that_wait_for_their_turn_keep_a_new_connection(broker_url: str) -> None:
    """Otherwise flows that always fail at once, and have the first turns, would keep the others from theirs."""
    shared = SharedConnection([broker_url], name="shared")
    last, failed = shared.seat(name="last"), list[Connection]()

    async def fail(connection: Connection) -> None:
        failed.append(connection)
        raise BrokerUnavailableError("its own queue is broken")

    async def prove(_: Connection) -> None:
        last.note_proof()
        await asyncio.sleep(60)

    first = [shared.seat(name="failing").keep(fail, trial=answered) for _ in range(STARTS_MAX)]
    running = [asyncio.create_task(task) for task in (*first, last.keep(prove, trial=answered), shared.run())]
    try:
        await eventually(lambda: len(failed) == 2 * STARTS_MAX, what="two failures of each")
        assert len({id(connection) for connection in failed}) == 1
    finally:
        await cancel_and_wait(*running)


@pytest.mark.timed
async def test_a_flow_without_events_rests_and_its_next_event_starts_a_check_at_once(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "REST_AFTER_S", 0.2)
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, flow) as (one,):
        await eventually(lambda: one.notes.rests == [True], what="the rest")
        before = one.notes.proved
        await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(1))
        await eventually(lambda: one.notes.proved > before, within_s=0.9, what="a check before the next regular one")
        assert one.notes.rests == [True, False]
        await asyncio.sleep(1.5)
        assert one.notes.rests == [True, False], "a flow that holds an event does not rest"
        one.sink.deliveries[0].ack()
        await eventually(lambda: one.notes.rests == [True, False, True], what="the next rest")


async def test_a_flow_does_not_rest_while_its_events_are_settled_between_two_checks(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "REST_AFTER_S", 1.5)
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, flow) as (one,):
        one.consumer._sink = Accepting()
        while one.notes.proved < 5 * len(Lane):  # five checks
            await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(1))
            await asyncio.sleep(0.2)
        assert one.notes.rests == []


async def test_checks_at_rest_prove_a_majority_only_if_no_other_session_has(
    broker_url: str, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "REST_AFTER_S", 0.2)
    monkeypatch.setattr(consumers, "REST_PROOF_S", 1.0)
    shared = SharedConnection([broker_url], name="shared")
    async with consuming(broker_url, shared, flow, rest_poll_s=0.1) as (one,):
        await eventually(lambda: one.notes.rests == [True], what="the rest")
        proved, unproved = one.notes.proved, one.notes.unproved
        await eventually(lambda: one.notes.proved >= proved + 2, what="two more proofs")
        assert one.notes.unproved - unproved > 5
