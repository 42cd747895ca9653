"""`eventflow history` as a real process, on a real store of each kind."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE
from typing import Any
from urllib.parse import urlsplit

import pytest

from eventflow.event import utc_now
from eventflow.history.filters import PAGE_MAX
from eventflow.history.opening import open_history
from eventflow.history.records import AttemptRecord, Batch, Gap
from eventflow.history.store import HistoryStore
from tests.support.amqp import Amqp
from tests.support.cli import Command, Ended, bury, dead_letter
from tests.support.databases import execute
from tests.support.history import attempt
from tests.support.running_time import running_s

FLOW = "orders"
NOWHERE = "amqp://127.0.0.1:1/"
"""These commands need no broker."""

STARTED = utc_now() - timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    return str(request.getfixturevalue("database"))


def files_in(directory: Path) -> list[Path]:
    """Everything in a directory."""
    return list(directory.iterdir())


class History:
    """`eventflow history` for one store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._command = Command(broker_url=NOWHERE, flow=FLOW)

    async def __call__(self, *arguments: str, **settings: str) -> Ended:
        return await self._command("history", *arguments, **{"HISTORY__URL": self.url, **settings})

    async def document(self, *arguments: str) -> Any:
        ended = await self(*arguments, "--json")
        assert ended.status == 0, ended.stderr
        return json.loads(ended.stdout)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[HistoryStore]:
        store = open_history(self.url)
        try:
            yield store
        finally:
            await store.close()

    async def put(self, *attempts: AttemptRecord, gaps: Sequence[Gap] = ()) -> None:
        async with self.store() as store:
            await store.migrate()
            number = await store.last_batch("test") + 1
            await store.append(Batch(writer="test", number=number, attempts=attempts, gaps=gaps))


@pytest.fixture
def history(store_url: str) -> History:
    return History(store_url)


def made(number: int, **fields: Any) -> AttemptRecord:
    """An attempt that started `number` seconds after the first; a failure unless the fields differ."""
    failed = {"outcome": "retry", "reason": "client_error", "status": 422, "answer": b'{"error": "no such sku"}'}
    more = {"answer_type": "application/json", "answer_bytes": 24, "started_at": STARTED + timedelta(seconds=number)}
    return attempt(**{"flow": FLOW, "event_id": f"event-{number}", **failed, **more, **fields})


async def test_the_schema_is_made_once_and_checked(history: History) -> None:
    before = await history("check")
    assert (before.status, "problem: " in before.stdout) == (1, True)
    missing = (await history("migrate", "--dry-run")).stdout
    assert missing.startswith("missing: 0001")
    assert (await history("migrate")).stdout == missing.replace("missing", "made")
    assert "is up to date" in (await history("migrate")).stdout
    after = await history.document("check")
    assert (after["version"], after["problems"], after["oldest"]) == (after["expected_version"], [], None)
    assert after["size_bytes"] > 0


async def test_a_database_administrator_can_run_the_printed_statements(database: str) -> None:
    history = History(database)
    await execute(database, (await history("migrate", "--sql")).stdout)
    ended = await history("check")
    assert ended.status == 0, ended.stdout
    await history.put(made(1))
    assert len((await history.document("list"))["attempts"]) == 1


async def test_pages_follow_each_other_without_a_repeat(history: History) -> None:
    await history.put(*(made(number) for number in range(5)))
    first = await history.document("list", "--limit", "2")
    second = await history.document("list", "--limit", "2", "--after", first["after"])
    third = await history.document("list", "--limit", "2", "--after", second["after"])
    ids = [each["event_id"] for page in (first, second, third) for each in page["attempts"]]
    assert ids == [f"event-{number}" for number in (4, 3, 2, 1, 0)]
    assert third["after"] is None
    shown = (await history("list", "--limit", "2")).stdout
    assert f"2 attempts of flow {FLOW}; for more: --after {first['after']}" in shown
    assert "client_error" in shown


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [4, 3, 2, 1]),
        (("--outcome", "failures"), [4, 3, 2]),
        (("--outcome", "delivered", "--since", "24h"), [1]),
        (("--outcome", "dead"), [4]),
        (("--reason", "timeout", "--outcome", "failures"), [3]),
        (("--status", "422", "--outcome", "failures"), [4, 2]),
        (("--type", "order.sent", "--since", "2h"), [1]),
        (("--since", "30m"), []),
        (("--until", "2h"), []),
    ],
)
async def test_options_select_attempts(history: History, options: tuple[str, ...], numbers: list[int]) -> None:
    await history.put(
        made(1, outcome="delivered", reason=None, status=200, type="order.sent"),
        made(2),
        made(3, reason="timeout", status=None),
        made(4, outcome="dead"),
        made(5, flow="another"),
    )
    found = await history.document("list", *options)
    assert [each["event_id"] for each in found["attempts"]] == [f"event-{number}" for number in numbers]


async def test_an_unbounded_selection_is_wrong_usage_with_its_remedy(history: History) -> None:
    for command in ("list", "export"):
        ended = await history(command, "--status", "422")
        assert ended.status == 2
        assert "failures" in ended.stderr


async def test_the_timeline_of_an_event_has_the_answers(history: History) -> None:
    await history.put(
        made(2, event_id="a", attempt=2, answer=b"\x1b[2J\xff"),
        made(1, event_id="a", next_at=STARTED + timedelta(seconds=2)),
        made(3, event_id="b"),
    )
    shown = await history("show", "a")
    assert '{"error": "no such sku"}' in shown.stdout
    assert shown.stdout.index("attempt 1") < shown.stdout.index("attempt 2")
    assert "\x1b" not in shown.stdout
    assert "1b 5b 32 4a ff" in (await history("show", "a", "--full")).stdout
    document = await history.document("show", "a", "--flow", FLOW)
    assert [each["attempt"] for each in document["attempts"]] == [1, 2]


async def test_an_event_without_attempts_is_one_line_with_the_gaps_that_may_hide_it(history: History) -> None:
    gap = Gap(writer="test", flow=FLOW, since=STARTED, until=STARTED, attempts=37, reason="buffer_full")
    await history.put(made(1), gaps=[gap])
    ended = await history("show", "unknown")
    assert ended.status == 1
    assert ended.stderr.startswith("error: no attempt of the event unknown is on record; not on record: 37 attempts")
    assert ended.stderr.count("\n") == 1
    assert "37 attempts" in (await history("list")).stderr


async def test_an_export_is_complete_private_and_never_overwrites(history: History, tmp_path: Path) -> None:
    number_of_attempts = 2 * PAGE_MAX + 1
    await history.put(*(made(number) for number in range(number_of_attempts)))
    file = tmp_path / "attempts.ndjson"
    ended = await history("export", str(file))
    assert ended.stdout == f"exported {number_of_attempts} attempts of flow {FLOW}\n"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each["event_id"] for each in records] == [f"event-{n}" for n in reversed(range(number_of_attempts))]
    assert S_IMODE(file.stat().st_mode) == 0o600
    again = await history("export", str(file))
    assert (again.status, "no export overwrites a file" in again.stderr) == (1, True)
    piped = await history("export", "--outcome", "failures")
    assert len(piped.stdout.splitlines()) == number_of_attempts
    async with history.store() as store:
        actions = await store.actions()
    assert {(action.kind, action.flow, action.detail) for action in actions} == {
        ("export", FLOW, f"history: {number_of_attempts} attempts")
    }


async def test_forgotten_events_leave_no_id_behind(history: History) -> None:
    await history.put(made(1, event_id="ana@example.com"), made(2, event_id="ana@example.com", flow="another"), made(3))
    refused = await history("forget", "ana@example.com")
    assert (refused.status, "--yes" in refused.stderr) == (2, True)
    assert await history.document("forget", "ana@example.com", "--yes") == {"id": "ana@example.com", "deleted": 2}
    assert (await history("show", "ana@example.com")).status == 1
    assert (await history("show", "event-3")).status == 0
    assert (await history("actions", "--flow", FLOW)).stdout.count("forget") == 1
    async with history.store() as store:
        actions = await store.actions()
    assert sorted(action.flow for action in actions) == ["another", FLOW]
    assert all(action.kind == "forget" and "ana" not in action.detail for action in actions)
    assert "deleted 0 attempts" in (await history("forget", "ana@example.com", "--yes")).stdout


async def test_old_attempts_are_deleted(history: History) -> None:
    await history.put(made(1), made(2, started_at=STARTED - timedelta(days=3)))
    assert (await history("prune", "--before", "2d")).status == 2
    assert (await history("prune", "--before", "2999-01-01", "--yes")).status == 2
    assert (await history("prune")).status == 0
    assert len((await history.document("list"))["attempts"]) == 2
    pruned = await history.document("prune", "--before", "2d", "--yes")
    assert pruned["oldest"] > pruned["before"]
    assert [each["event_id"] for each in (await history.document("list"))["attempts"]] == ["event-1"]


async def test_without_a_history_the_setting_is_named() -> None:
    ended = await Command(broker_url=NOWHERE, flow=FLOW)("history", "list")
    assert ended.status == 78
    assert ended.stderr.startswith("error: EVENTFLOW_HISTORY__URL is not set")


AWAY = "postgresql://ana:secret-word@127.0.0.1:1/events"


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port that accepts connections and never answers."""
    release = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        release.set()


async def test_a_store_that_is_away_is_one_line_without_the_password(silent_port: int) -> None:
    quick = [("check",), ("list",), ("show", "a"), ("forget", "a", "--yes"), ("migrate",), ("prune",)]
    for port, commands in ((1, quick), (silent_port, [("show", "a"), ("prune",)])):
        history = History(AWAY.replace(":1/", f":{port}/"))
        for command in commands:
            began = running_s()
            ended = await history(*command)
            assert running_s() - began < 8, "2 s, a start of Python, and the load of other tests"
            assert (ended.status, ended.stderr.count("\n")) == (1, 1), ended
            assert ended.stderr.startswith("error: ")
            assert "secret-word" not in ended.stdout + ended.stderr


@pytest.fixture
async def without_rights(database: str) -> AsyncIterator[str]:
    """An empty database with a role that may not make a schema."""
    role = f"r{secrets.token_hex(8)}"
    await execute(database, f"CREATE ROLE {role} LOGIN PASSWORD 'secret-word'")
    parts = urlsplit(database)
    yield parts._replace(netloc=f"{role}:secret-word@{parts.hostname}:{parts.port}").geturl()
    await execute(database, f"DROP ROLE {role}")


async def test_a_missing_schema_is_one_line_that_names_the_command(without_rights: str) -> None:
    history = History(without_rights)
    for command in (("list",), ("show", "a"), ("export",), ("forget", "a", "--yes"), ("prune",)):
        ended = await history(*command)
        assert (ended.status, ended.stderr.count("\n")) == (1, 1)
        assert "eventflow history migrate" in ended.stderr
    refused = await history("migrate")
    assert (refused.status, refused.stderr.count("\n")) == (1, 1)
    assert "permission denied" in refused.stderr
    assert "secret-word" not in refused.stderr


async def test_no_command_but_migrate_creates_the_file_of_the_processors(tmp_path: Path) -> None:
    """It would belong to the operator, and the processors could not write it."""
    history = History(f"sqlite:///{tmp_path / 'missing.db'}")
    for command in (("list",), ("show", "a"), ("export",), ("actions",), ("forget", "a", "--yes"), ("prune",)):
        ended = await history(*command)
        assert (ended.status, ended.stderr.count("\n")) == (1, 1)
        assert "a processor creates it" in ended.stderr
    assert files_in(tmp_path) == []
    assert (await history("migrate")).status == 0
    assert (await history("list")).status == 0


async def test_an_action_does_not_create_the_file_of_the_processors(eventflow: Command, tmp_path: Path) -> None:
    ended = await eventflow("pause", HISTORY__URL=f"sqlite:///{tmp_path / 'missing.db'}")
    assert (ended.status, "a processor creates it" in ended.stderr) == (0, True)
    assert files_in(tmp_path) == []


@pytest.fixture
async def eventflow(broker_url: str, flow: str, amqp: Amqp) -> Command:
    """The command for a flow whose queues exist."""
    await amqp.declare_flow(flow)
    return Command(broker_url=broker_url, flow=flow)


async def test_why_finds_an_event_of_last_week_by_its_attempts(eventflow: Command, history: History, flow: str) -> None:
    await history.put(
        made(1, event_id="a", flow=flow),
        made(2, event_id="a", flow="another", outcome="delivered", reason=None, status=200),
    )
    shown = await eventflow("why", "a", HISTORY__URL=history.url)
    assert shown.status == 0
    assert "attempt 1, lane events, failed: client_error, HTTP 422" in shown.stdout
    assert "was delivered: HTTP 200 (flow another)" in shown.stdout
    assert "unknown" not in shown.stdout
    document = json.loads((await eventflow("why", "a", "--json", HISTORY__URL=history.url)).stdout)
    assert [each["flow"] for each in document["history"]["attempts"]] == [flow, "another"]
    assert document["history"]["unavailable"] is None


async def test_why_knows_that_an_event_was_not_attempted(eventflow: Command, history: History, flow: str) -> None:
    gap = Gap(writer="test", flow=flow, since=STARTED, until=STARTED, attempts=37, reason="buffer_full")
    await history.put(made(1, flow=flow), gaps=[gap])
    ended = await eventflow("why", "unknown", HISTORY__URL=history.url)
    assert ended.status == 1
    assert "no attempt is on record" in ended.stdout
    assert "It was not attempted yet, it never arrived, or its attempts are older than 7 days" in ended.stdout
    assert "37 attempts" in ended.stdout


async def test_why_answers_without_a_history_that_is_away(
    eventflow: Command, amqp: Amqp, flow: str, silent_port: int
) -> None:
    await bury(amqp, flow, [dead_letter("a")])
    for url in (AWAY, AWAY.replace(":1/", f":{silent_port}/")):
        began = running_s()
        ended = await eventflow("why", "a", HISTORY__URL=url)
        assert running_s() - began < 8
        assert ended.status == 0
        assert "after 12 attempts: server_error" in ended.stdout
        assert "the history was not searched: " in ended.stdout
        assert "secret-word" not in ended.stdout + ended.stderr
    document = json.loads((await eventflow("why", "a", "--json", HISTORY__URL=AWAY)).stdout)
    assert document["history"]["unavailable"]
    assert json.loads((await eventflow("why", "a", "--json")).stdout)["history"] is None


async def test_actions_of_operators_are_on_record(
    eventflow: Command, amqp: Amqp, history: History, flow: str, tmp_path: Path
) -> None:
    await history.put()
    await bury(amqp, flow, [dead_letter("a"), dead_letter("b", reason="timeout"), dead_letter("c")])
    file = tmp_path / "dead.ndjson"
    for command in (
        ("pause",),
        ("rate", "set", "7"),
        ("rate", "set", "configured"),
        ("resume",),
        ("dead", "export", str(file)),
        ("dead", "replay", "--reason", "timeout"),
        ("dead", "replay", "--all", "--dry-run"),
        ("dead", "purge", "a", "--yes"),
        ("dead", "replay", "--from", str(file)),
    ):
        ended = await eventflow(*command, HISTORY__URL=history.url)
        assert (ended.status, "warning" in ended.stderr) == (0, False), ended.stderr
    async with history.store() as store:
        actions = list(reversed(await store.actions(flow=flow)))
    assert [(action.kind, action.detail) for action in actions] == [
        ("pause", ""),
        ("rate", "7/s"),
        ("rate", "configured"),
        ("resume", ""),
        ("export", "3 events (all)"),
        ("replay", "1 event (reason timeout)"),
        ("purge", "1 event (1 id)"),
        ("replay", "3 events (of a file)"),
    ]
    assert all("@" in action.by for action in actions)
    listed = await eventflow("history", "actions", "--limit", "2", HISTORY__URL=history.url)
    assert [line.split()[3] for line in listed.stdout.splitlines()[1:]] == ["replay", "purge"]
    document = json.loads((await eventflow("history", "actions", "--json", HISTORY__URL=history.url)).stdout)
    assert document["actions"][-1]["kind"] == "pause"


async def test_an_action_works_without_a_history_that_is_away(eventflow: Command) -> None:
    ended = await eventflow("pause", HISTORY__URL=AWAY)
    assert (ended.status, "paused" in ended.stdout) == (0, True)
    assert ended.stderr.startswith("warning: this is not on record: ")


async def test_the_check_of_everything_includes_the_history(eventflow: Command, history: History) -> None:
    await history.put()

    async def found(url: str) -> dict[str, str]:
        document = json.loads((await eventflow("check", "--json", HISTORY__URL=url)).stdout)
        [finding] = [each for each in document["findings"] if each["checked"].startswith("history ")]
        return finding

    assert (await found(history.url))["verdict"] == "ok"
    away = await found(AWAY)
    assert (away["verdict"], away["checked"]) == ("problem", "history postgresql://ana@127.0.0.1:1/events")
