"""Faults between a processor, its handler and the database."""

import asyncio
from collections.abc import Set
from functools import partial

from tests.chaos.faults.kills import consuming
from tests.chaos.handlers import function
from tests.chaos.handlers.scenario import HandlerScenario
from tests.chaos.handlers.world import HandlerWorld
from tests.support.wait import eventually

BEGIN, COMMIT = b"BEGIN", b"COMMIT"
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
AWAY_S = 15.0
FROZEN_S = 12.0
FEW_ATTEMPTS = {"TARGET__MAX_ATTEMPTS": "3"}
"""With the retry delays of a scenario, the third attempt would come after one second. So if the attempts of an outage
counted, it would end in dead letters."""


async def killed_before_begin(world: HandlerWorld) -> None:
    await _killed_at(world, BEGIN)


async def killed_between_write_and_commit(world: HandlerWorld, *, times: int = 3) -> None:
    await _killed_at(world, COMMIT, times=times)


async def killed_after_commit(world: HandlerWorld) -> None:
    """The transaction is committed, and its processor never learns it."""
    await _killed_at(world, COMMIT, answers=True)
    await _remark_skipped(world)


async def killed_before_acks(world: HandlerWorld, *, times: int = 3) -> None:
    """The processor knows that the transaction is committed, and its acks are held back."""
    for number in range(times):
        part = world.processors[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.broker.stalled(to_broker=True, applies=consuming):
            await world.pause(0.2, 0.4)
            await world.kill(part)
        await world.start(part.service)
    await world.delivers(50)
    await _remark_skipped(world)


async def _killed_at(world: HandlerWorld, text: bytes, *, answers: bool = False, times: int = 3) -> None:
    """The processors are killed in turn while statements, or their answers, are on the way."""
    for number in range(times):
        part = world.processors[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.database.holding(text, answers=answers) as hold:
            await eventually(lambda: hold.count > 0, what=f"{text.decode()} of a processor")
            await world.pause(0.0, 0.1)
            await world.kill(part)
        await world.start(part.service)
    await world.delivers(50)


async def database_killed_at_commit(world: HandlerWorld) -> None:
    """A COMMIT is sent, the database has committed it, and is killed before its answer arrives."""
    for number in range(3):
        part = world.processors[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.database.holding(COMMIT, answers=True) as hold:
            await eventually(lambda: hold.count > 0, what="the answer to a COMMIT")
            world.database.kill()
            await part.database.cut()
        await asyncio.to_thread(world.database.start)
    await world.delivers(50)
    await _remark_skipped(world)


async def commit_raced(world: HandlerWorld) -> None:
    """Connections are lost around a COMMIT, again and again: before it, and before its answer."""
    for number in range(12):
        part = world.processors[number % 2]
        await world.delivers(20)
        with part.database.holding(COMMIT, answers=world.dice.random() < 0.5) as hold:
            await eventually(lambda: hold.count > 0, what="a COMMIT of a processor")
            await part.database.cut()
    await world.delivers(50)
    await _remark_skipped(world)


async def connections_terminated(world: HandlerWorld) -> None:
    """The database ends the connections of its clients, in every state of a transaction."""
    for _ in range(12):
        await world.delivers(20)
        await world.execute(TERMINATE)
    await world.delivers(50)


async def each_event_twice(world: HandlerWorld) -> None:
    """Both processors get the same event at the same time, and its transaction takes a while."""
    await world.delivers(150)
    await _remark_skipped(world)


async def broker_lost_before_commit(world: HandlerWorld) -> None:
    """A processor loses its broker while it commits, so that the other one gets the events of the open transactions."""
    for number in range(6):
        part = world.processors[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.database.holding(COMMIT) as hold:
            await eventually(lambda: hold.count > 0, what="a COMMIT of a processor")
            part.broker.cut()
            await world.pause(0.1, 0.6)
    await world.delivers(50)


async def frozen_before_commit(world: HandlerWorld) -> None:
    """A frozen processor holds open transactions whose events the other one gets; then it continues."""
    for number in range(3):
        part = world.processors[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.database.holding(COMMIT) as hold:
            await eventually(lambda: hold.count > 0, what="a COMMIT of a processor")
            part.service.process.pause()
            part.broker.cut()
            await world.pause(0.5, 2.0)
        part.service.process.resume()
    await world.delivers(50)


async def machine_lost_before_commit(world: HandlerWorld) -> None:
    """A machine is lost with its processor: the database keeps the connection, and the locks of its transactions."""
    for number in range(2):
        part = world.processors[number]
        await world.delivers(world.dice.randrange(20, 60))
        with part.database.holding(COMMIT) as hold:
            await eventually(lambda: hold.count > 0, what="a COMMIT of a processor")
            part.service.process.kill()
            part.broker.cut()  # but not its connections to the database
            accepted = set(world.load.accepted)
            await eventually(partial(_have_effect, world, accepted), within_s=40, what="the end of its transactions")
            await part.database.cut()
        await world.start(part.service)
    await world.delivers(50)


async def _have_effect(world: HandlerWorld, ids: Set[str]) -> bool:
    return ids <= (await world.effects()).keys()


async def database_away(world: HandlerWorld) -> None:
    """No attempt counts while the database is away, so no event becomes a dead letter."""
    await world.delivers(50)
    world.database.stop()
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(world.database.start)
    await world.delivers(150)


async def database_frozen(world: HandlerWorld) -> None:
    """A frozen database answers no statement: after the first timeouts the flow waits for it."""
    await world.delivers(50)
    world.database.pause()
    await asyncio.sleep(FROZEN_S)
    world.database.resume()
    await world.delivers(150)


async def loop_blocked(world: HandlerWorld) -> None:
    """The function blocks the loop of its processor, which says so and names the event."""
    await world.delivers(50)
    for number in range(2):
        event_id = f"{function.BLOCKING}{number}"
        assert await world.post(event_id) == 202
        world.load.accepted_at_s[event_id] = world.now_s
    await world.delivers(150)

    async def is_noticed() -> bool:
        return await world.sum_of("eventflow_loop_blocked_total") >= 2

    await eventually(is_noticed, what="both blocks counted")
    said = "".join(part.service.output for part in world.processors)
    assert all(f"{function.BLOCKING}{number}" in said for number in range(2)), said


async def _remark_skipped(world: HandlerWorld) -> None:
    skipped = await world.duplicates_skipped()
    assert skipped > 0, "the inbox has skipped no duplicate, so the fault missed its moment"


BETWEEN_WRITE_AND_COMMIT = HandlerScenario(
    name="handler: processor killed 3 times between write and COMMIT", fault=killed_between_write_and_commit
)
BEFORE_ACKS = HandlerScenario(name="handler: processor killed 3 times between COMMIT and ack", fault=killed_before_acks)

SCENARIOS = (
    HandlerScenario(name="handler: processor killed 3 times before BEGIN", fault=killed_before_begin),
    BETWEEN_WRITE_AND_COMMIT,
    HandlerScenario(name="handler: processor killed 3 times before the answer to COMMIT", fault=killed_after_commit),
    BEFORE_ACKS,
    HandlerScenario(
        name="handler: database killed 3 times before its answer to COMMIT", fault=database_killed_at_commit
    ),
    HandlerScenario(name="handler: connection lost 12 times at COMMIT", fault=commit_raced),
    HandlerScenario(
        name="handler: connection lost 12 times at COMMIT, function in a thread",
        fault=commit_raced,
        call=function.handle_in_thread.__name__,
    ),
    HandlerScenario(
        name="handler: connection lost 12 times at COMMIT, session of SQLAlchemy",
        fault=commit_raced,
        call=function.handle_in_session.__name__,
        has_sessions=True,
    ),
    HandlerScenario(name="handler: connections ended by the database 12 times", fault=connections_terminated),
    HandlerScenario(
        name="handler: two processors with the same event at the same time",
        fault=each_event_twice,
        posts=2,
        call=function.handle_slowly.__name__,
        note="each event is posted twice",
    ),
    HandlerScenario(
        name="handler: processor without its broker 6 times before COMMIT, the other one has the event",
        fault=broker_lost_before_commit,
    ),
    HandlerScenario(
        name="handler: processor frozen 3 times before COMMIT, the other one has the event", fault=frozen_before_commit
    ),
    HandlerScenario(
        name="handler: machine lost before COMMIT, its locks remain",
        fault=machine_lost_before_commit,
        processor={"HANDLER__TIMEOUT_S": "2"},
    ),
    HandlerScenario(
        name=f"handler: database away for {AWAY_S:g} s",
        fault=database_away,
        processor=FEW_ATTEMPTS,
    ),
    HandlerScenario(
        name=f"handler: database frozen for {FROZEN_S:g} s",
        fault=database_frozen,
        processor={"HANDLER__TIMEOUT_S": "2", **FEW_ATTEMPTS},
    ),
    HandlerScenario(name="handler: function blocks the loop for 3 s, twice", fault=loop_blocked),
)
