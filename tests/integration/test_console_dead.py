"""Dead letters in a console: searched, replayed and exported against a real broker."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from eventflow.amqp.browser import BATCH_MAX, Browser
from eventflow.errors import BusyError, EventFlowError
from eventflow.operations.dead import replay as replay_module
from eventflow.operations.dead.browse import Bounds
from eventflow.operations.dead.selection import Selection
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, dead_queue, lane_queue
from eventflow_console import actions as actions_module
from eventflow_console import dead_letters as dead_letters_module
from eventflow_console.jobs import Job
from tests.support.amqp import Amqp
from tests.support.cli import bury, dead_letter, ids_in
from tests.support.console import ConsoleParts, console_parts
from tests.support.wait import eventually

IDS = [f"id-{number:04}" for number in range(200)]
ALL = Selection()


@pytest.fixture
async def console(broker_url: str, flow: str, amqp: Amqp) -> AsyncIterator[ConsoleParts]:
    await amqp.declare_flow(flow)
    async with console_parts(broker_url, flow) as running:
        yield running


async def until_connected(console: ConsoleParts) -> None:
    await eventually(lambda: bool(console.state.present.broker.is_up), what="a connection")


async def ended(console: ConsoleParts, job: Job) -> Job:
    async def has_ended() -> bool:
        found = console.jobs.job(job.id)
        return found is not None and found.state != "running"

    await eventually(has_ended, what=lambda: str(console.jobs.job(job.id)))
    found = console.jobs.job(job.id)
    assert found is not None
    return found


async def test_a_search_leaves_the_queue_whole_and_in_order(console: ConsoleParts, flow: str, amqp: Amqp) -> None:
    letters = [
        dead_letter(event_id, reason="timeout" if number % 4 else "client_error", event_type=f"type.{number % 2}")
        for number, event_id in enumerate(IDS)
    ]
    await bury(amqp, flow, letters)
    await until_connected(console)
    found = await console.dead_letters.find(flow, IDS[70])
    assert found.letter is not None
    assert (found.letter["id"], found.letter["body"], found.is_complete) == (IDS[70], '{"n": 1}', True)
    assert found.searched < found.total == len(IDS)
    missing = await console.dead_letters.find(flow, "missing")
    assert (missing.letter, missing.searched, missing.is_complete) == (None, len(IDS), True)
    page = await console.dead_letters.page(flow, Selection(reasons=frozenset({"client_error"})), limit=10)
    assert [letter["id"] for letter in page.letters] == IDS[:40:4]
    assert "body" not in page.letters[0]
    counted = await console.dead_letters.count(flow, Selection(types=frozenset({"type.0"})))
    assert (counted.selected, counted.is_complete) == (100, True)
    assert (dict(counted.reasons), dict(counted.types)) == ({"client_error": 50, "timeout": 50}, {"type.0": 100})
    assert await ids_in(amqp, dead_queue(flow)) == IDS


async def test_a_search_of_a_long_queue_ends_and_shows_that_it_is_not_complete(
    console: ConsoleParts, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    await until_connected(console)
    monkeypatch.setattr(dead_letters_module, "SEARCH", Bounds(letters=64))
    found = await console.dead_letters.find(flow, IDS[-1])
    assert (found.letter, found.searched, found.is_complete) == (None, 64, False)
    monkeypatch.setattr(dead_letters_module, "SEARCH", Bounds(time_s=0.0))
    counted = await console.dead_letters.count(flow, ALL)
    assert (counted.selected, counted.searched, counted.total, counted.is_complete) == (0, 0, len(IDS), False)
    assert await amqp.depth(dead_queue(flow)) == len(IDS)


async def test_a_page_of_large_dead_letters_needs_the_memory_of_one_read(
    console: ConsoleParts, flow: str, amqp: Amqp
) -> None:
    body = bytes(400_000)
    for start in range(0, len(IDS), 20):
        await bury(amqp, flow, [dead_letter(event_id, body=body) for event_id in IDS[start : start + 20]])
    await until_connected(console)
    tracemalloc.start()
    try:
        page = await console.dead_letters.page(flow, ALL, limit=len(IDS))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert page.searched > 2 * BATCH_MAX
    assert {letter["body_bytes"] for letter in page.letters} == {len(body)}
    assert peak_bytes < 2.5 * BATCH_MAX * len(body)


async def test_searches_of_several_pages_take_turns(
    monkeypatch: pytest.MonkeyPatch, console: ConsoleParts, flow: str, amqp: Amqp
) -> None:
    monkeypatch.setattr(dead_letters_module, "TURN_WITHIN_S", 60)  # ten searches take long on a busy machine
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    await until_connected(console)
    found = await asyncio.gather(*(console.dead_letters.find(flow, event_id) for event_id in IDS[::20]))
    assert [one.letter["id"] for one in found if one.letter is not None] == IDS[::20]


async def test_a_page_that_is_closed_during_its_search_gives_the_dead_letters_back(
    console: ConsoleParts, flow: str, amqp: Amqp
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    await until_connected(console)
    for pause_s in (0.0, 0.005, 0.01, 0.02, 0.04):
        searching = asyncio.create_task(console.dead_letters.find(flow, "missing"))
        await asyncio.sleep(pause_s)
        await cancel_and_wait(searching)
    found = await console.dead_letters.find(flow, IDS[-1])
    assert (found.letter is not None, found.total) == (True, len(IDS))
    assert await ids_in(amqp, dead_queue(flow)) == IDS


async def test_a_replay_moves_the_selected_ones_and_is_put_on_record(
    console: ConsoleParts, flow: str, amqp: Amqp
) -> None:
    letters = [
        dead_letter(event_id, reason="timeout" if number % 4 else "client_error") for number, event_id in enumerate(IDS)
    ]
    await bury(amqp, flow, letters)
    job = await console.actions.replay(flow, Selection(reasons=frozenset({"client_error"})), by="ann")
    assert (job.state, job.by, job.flow) == ("running", "ann", flow)
    job = await ended(console, job)
    assert (job.state, job.done, job.seen, job.total, job.error) == ("done", 50, 200, 200, None)
    assert job.ended_at is not None
    assert await ids_in(amqp, lane_queue(flow, Lane.REPLAY)) == IDS[::4]
    assert await ids_in(amqp, dead_queue(flow)) == [event_id for number, event_id in enumerate(IDS) if number % 4]
    [action] = console.recorded
    assert (action.kind, action.flow, action.by, action.detail) == ("replay", flow, "ann", "reason client_error")
    assert console.jobs.latest(flow) == [job]
    assert console.jobs.latest("other") == []


async def test_a_replay_by_id_and_status_names_the_missing_ones(console: ConsoleParts, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter("a"), dead_letter("b")])
    selection = Selection(ids=frozenset({"a", "gone"}), statuses=frozenset({503}))
    job = await ended(console, await console.actions.replay(flow, selection, by="ann"))
    assert (job.done, job.missing) == (1, ("gone",))
    job = await ended(console, await console.actions.replay(flow, Selection(statuses=frozenset({422})), by="ann"))
    assert job.done == 0
    assert await ids_in(amqp, dead_queue(flow)) == ["b"]


async def test_one_reader_at_a_time_and_the_others_are_refused_with_its_name(
    console: ConsoleParts, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    await until_connected(console)
    going_on = asyncio.Event()
    confirmed = replay_module._publish

    async def held(*arguments: object) -> None:
        await going_on.wait()
        await confirmed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(replay_module, "_publish", held)
    job = await console.actions.replay(flow, ALL, by="ann")
    with pytest.raises(BusyError, match="replay that ann has started"):
        await console.actions.replay(flow, ALL, by="bob")
    with pytest.raises(BusyError, match="replay that ann has started"):
        await console.dead_letters.find(flow, IDS[0])
    with pytest.raises(BusyError, match="replay that ann has started"):
        async with console.actions.exporting(flow, ALL, by="bob"):
            pass
    assert len(console.jobs.latest()) == 1
    going_on.set()
    assert (await ended(console, job)).done == len(IDS)
    assert (await console.dead_letters.find(flow, IDS[0])).is_complete


async def test_a_replay_that_is_cancelled_loses_and_repeats_nothing(
    console: ConsoleParts, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    confirmed = replay_module._publish
    sent = 0

    async def slow(*arguments: object) -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.3)
        await confirmed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(replay_module, "_publish", slow)
    job = await console.actions.replay(flow, ALL, by="ann")
    await eventually(lambda: sent > 40, what="the second read")
    cancelled = await console.jobs.cancel(job.id)
    assert cancelled is not None
    assert cancelled.state == "cancelled"
    assert 0 < cancelled.done == sent < len(IDS)
    replayed, left = await ids_in(amqp, lane_queue(flow, Lane.REPLAY)), await ids_in(amqp, dead_queue(flow))
    assert sorted(replayed + left) == IDS
    assert left == IDS[sent:], "in their order"
    assert await console.jobs.cancel("unknown") is None


async def test_an_end_of_the_console_ends_its_replays_in_order(broker_url: str, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    async with console_parts(broker_url, flow) as console:
        job = await console.actions.replay(flow, ALL, by="ann")
    stopped = console.jobs.job(job.id)
    assert stopped is not None
    assert stopped.state in {"cancelled", "done"}
    replayed, left = await ids_in(amqp, lane_queue(flow, Lane.REPLAY)), await ids_in(amqp, dead_queue(flow))
    assert sorted(replayed + left) == IDS
    assert len(replayed) == stopped.done


async def test_an_export_is_whole_and_changes_nothing(console: ConsoleParts, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter(event_id, body=b"\xff" if event_id == IDS[3] else b"{}") for event_id in IDS])
    content = b""
    async with console.actions.exporting(flow, ALL, by="ann") as chunks:
        async for chunk in chunks:
            content += chunk
    lines = [json.loads(line) for line in content.splitlines()]
    assert [line["id"] for line in lines] == IDS
    assert lines[3]["body_base64"] == "/w=="
    assert await ids_in(amqp, dead_queue(flow)) == IDS
    assert [(action.kind, action.by, action.detail) for action in console.recorded] == [("export", "ann", "all")]


async def test_a_reader_of_an_export_that_leaves_or_takes_nothing_gives_the_dead_letters_back(
    console: ConsoleParts, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    await until_connected(console)
    async with console.actions.exporting(flow, ALL, by="ann") as chunks:
        await anext(chunks)
    assert await amqp.depth(dead_queue(flow)) == len(IDS)
    monkeypatch.setattr(actions_module, "EXPORT_STALLED_S", 0.2)
    async with console.actions.exporting(flow, ALL, by="ann") as chunks:
        await anext(chunks)

        async def is_found() -> bool:
            try:
                return (await console.dead_letters.find(flow, IDS[0])).letter is not None
            except BusyError:
                return False

        await eventually(is_found, what="the dead letters, while the reader waits")
        with pytest.raises(EventFlowError, match="took nothing"):
            async for _ in chunks:
                pass
    assert await ids_in(amqp, dead_queue(flow)) == IDS


async def test_an_export_that_takes_too_long_is_no_whole_export(
    console: ConsoleParts, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])
    monkeypatch.setattr(actions_module, "EXPORT_MAX_S", 0.0)
    async with console.actions.exporting(flow, ALL, by="ann") as chunks:
        with pytest.raises(EventFlowError, match="eventflow dead export"):
            async for _ in chunks:
                pass


async def test_a_broker_that_fails_during_a_replay_is_its_error(
    console: ConsoleParts, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(amqp, flow, [dead_letter(event_id) for event_id in IDS])

    async def fails(self: Browser, count: int) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Browser, "read", fails)
    job = await ended(console, await console.actions.replay(flow, ALL, by="ann"))
    assert (job.state, job.done) == ("failed", 0)
    assert job.error == "the console met an internal error: ZeroDivisionError"
    monkeypatch.undo()
    assert await ids_in(amqp, dead_queue(flow)) == IDS
