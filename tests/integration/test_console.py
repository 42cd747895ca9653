"""The console as a real process, with a real broker, a processor and a store: what its API answers and does."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web

from eventflow.history.sqlite.store import SqliteStore
from eventflow.topology import Lane, dead_queue, lane_queue
from eventflow.users import put_user
from tests.support.amqp import Amqp
from tests.support.cli import bury, dead_letter
from tests.support.console import cheap_hash
from tests.support.http import exchange
from tests.support.running_time import running_s
from tests.support.services import Service, console, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually


class Api:
    """The API of a console."""

    def __init__(self, service: Service, client: aiohttp.ClientSession) -> None:
        self._url, self._client = f"{service.url}/api/v1/", client

    async def get(self, path: str, status: int = 200, **parameters: str) -> Any:
        async with self._client.get(self._url + path, params=parameters) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return json.loads(text)

    async def rows(self, path: str, **parameters: str) -> list[Any]:
        async with self._client.get(self._url + path, params=parameters) as answer:
            assert answer.status == 200
            return [json.loads(line) for line in (await answer.text()).splitlines()]

    async def exported(self, **members: object) -> list[Any]:
        async with self._client.post(self._url + "export", json=members) as answer:
            assert answer.status == 200
            return [json.loads(line) for line in (await answer.text()).splitlines()]

    async def post(self, path: str, status: int = 200, **members: object) -> Any:
        async with self._client.post(self._url + path, json=members) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return json.loads(text)


@pytest.fixture
async def store(tmp_path: Path) -> str:
    """The URL of an empty store."""
    made = SqliteStore(tmp_path / "history.db")
    await made.migrate()
    await made.close()
    return f"sqlite:///{tmp_path}/history.db"


@pytest.fixture
async def service(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, store: str
) -> AsyncIterator[Service]:
    await amqp.declare_flow(flow)
    async with starting(http) as start:
        yield await start(console(broker_url, flow=flow, HISTORY__URL=store))


@pytest.fixture
def api(service: Service, http: aiohttp.ClientSession) -> Api:
    return Api(service, http)


async def test_an_event_is_found_with_the_words_of_the_target(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, target: ScriptedTarget, api: Api, store: str
) -> None:
    target.answer = lambda _: web.Response(status=422, text="no such <customer>")
    limits = {"TARGET__MAX_ATTEMPTS": "1", "HISTORY__URL": store}
    async with starting(http) as start:
        await start(processor(broker_url, flow=flow, target_url=target.url, **limits))
        await amqp.publish(lane_queue(flow, Lane.LIVE), aio_pika.Message(b"{}", message_id="order-1"))

        async def is_on_record() -> bool:
            return bool((await api.get("attempts", flow=flow, outcome="failures"))["attempts"])

        await eventually(is_on_record, what="the attempt on record")
        event = await api.get("event", id="order-1")
        [attempt] = event["attempts"]
        assert (attempt["status"], attempt["answer"]) == (422, "no such <customer>")
        assert event["flow"] == flow
        assert event["processors"]["all"] == 1
        assert event["dead"]["letter"]["reason"] == "client_error"
        assert [row["event_id"] for row in await api.rows("attempts.ndjson", flow=flow)] == ["order-1"]
        assert (await api.get("minutes", flow=flow))["problems"] == []


async def test_a_pause_a_rate_and_a_resume_are_on_record_with_the_operator(api: Api, flow: str) -> None:
    paused = await api.post("pause", flow=flow)
    assert paused["is_paused"]
    assert (await api.post("rate", flow=flow, rate_per_s=2.5))["rate_per_s"] == 2.5
    assert (await api.post("rate", flow=flow, rate_per_s="configured"))["rate_per_s"] is None
    assert not (await api.post("resume", flow=flow))["is_paused"]
    actions = (await api.get("actions", flow=flow))["actions"]
    assert [action["kind"] for action in actions] == ["resume", "rate", "rate", "pause"]
    assert {action["by"] for action in actions} == {paused["paused_by"]}


async def test_the_state_of_the_flow_shows_a_pause(api: Api, flow: str) -> None:
    await api.post("pause", flow=flow)

    async def is_paused() -> bool:
        state = (await api.get("flows"))["flows"][flow]
        return bool(state["is_paused"])

    await eventually(is_paused, what="the pause")
    await api.post("resume", flow=flow)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"flow": None},
        {"flow": ["default"]},
        {"flow": "default", "more": 1},
    ],
)
async def test_an_order_must_name_its_flow(api: Api, members: dict[str, Any]) -> None:
    assert "flow" in (await api.post("pause", 400, **members))["detail"] or "more" in members


async def test_an_order_for_a_flow_that_does_not_exist_names_those_that_do(api: Api, flow: str) -> None:
    assert flow in (await api.post("pause", 404, flow="nowhere"))["detail"]


@pytest.mark.parametrize("rate", [0, -1, True, "fast", float("nan"), 1e9, "1" * 5000, None, [1]])
async def test_a_rate_out_of_range_is_refused(api: Api, flow: str, rate: object) -> None:
    await api.post("rate", 400, flow=flow, rate_per_s=rate)


async def test_dead_letters_are_listed_counted_exported_and_replayed_by_a_condition(
    api: Api, flow: str, amqp: Amqp
) -> None:
    letters = [dead_letter(f"id-{n}", reason="timeout" if n % 2 else "server_error") for n in range(10)]
    await bury(amqp, flow, letters)
    page = await api.get("dead", flow=flow, reason="timeout", limit="3")
    assert [letter["id"] for letter in page["letters"]] == ["id-1", "id-3", "id-5"]
    assert page["total"] == 10
    count = await api.get("dead/count", flow=flow, reason="timeout")
    assert count["selected"] == 5
    exported = await api.exported(flow=flow, reason="timeout")
    assert [letter["id"] for letter in exported] == [f"id-{n}" for n in range(1, 10, 2)]
    job = await api.post("replay", 202, flow=flow, reason="timeout")

    async def is_done() -> bool:
        return bool((await api.get("replay", id=job["id"]))["state"] == "done")

    await eventually(is_done, what="the replay")
    assert (await api.get("replay", id=job["id"]))["done"] == 5
    assert await amqp.depth(lane_queue(flow, Lane.REPLAY)) == 5
    assert await amqp.depth(dead_queue(flow)) == 5
    assert [one["id"] for one in (await api.get("replays", flow=flow))["jobs"]] == [job["id"]]
    kinds = [action["kind"] for action in (await api.get("actions", flow=flow))["actions"]]
    assert kinds == ["replay", "export"]


async def test_a_replay_of_all_is_only_made_when_it_is_meant(api: Api, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter("a"), dead_letter("b")])
    for members in ({}, {"all": False}, {"all": True, "reason": "timeout"}, {"ids": []}, {"all": 1}, {"ids": [1]}):
        await api.post("replay", 400, flow=flow, **members)
    assert await amqp.depth(dead_queue(flow)) == 2
    job = await api.post("replay", 202, flow=flow, all=True)

    async def is_done() -> bool:
        return bool((await api.get("replay", id=job["id"]))["state"] == "done")

    await eventually(is_done, what="the replay")
    assert await amqp.depth(dead_queue(flow)) == 0


async def test_an_unknown_replay_is_not_found(api: Api) -> None:
    await api.get("replay", 404, id="nothing")
    await api.post("replay/cancel", 404, id="nothing")


async def test_a_dead_letter_is_shown_with_its_body(api: Api, flow: str, amqp: Amqp) -> None:
    await bury(amqp, flow, [dead_letter("a/b?c#d", body=b"<script>alert(1)</script>")])
    event = await api.get("event", flow=flow, id="a/b?c#d")
    assert event["dead"]["letter"]["body"] == "<script>alert(1)</script>"
    assert event["attempts"] == []
    assert event["processors"] == {"all": 0, "answers": {}}


async def test_an_unknown_event_is_an_answer_and_no_error(api: Api, flow: str) -> None:
    event = await api.get("event", flow=flow, id="never-came")
    assert (event["attempts"], event["dead"]["letter"]) == ([], None)
    assert event["problems"] == []


@pytest.mark.timed
async def test_it_works_without_a_broker_and_ends_at_once(http: aiohttp.ClientSession) -> None:
    service = console("amqp://127.0.0.1:1/", flow="default2")
    with service.process:
        await service.ready(http)
        api = Api(service, http)
        flows = await api.get("flows")
        assert flows["broker"]["is_up"] is False
        assert flows["problems"]
        assert (await api.post("pause", 503, flow="default2"))["title"] == "Service Unavailable"
        await api.get("dead", 503, flow="default2")
        began_s = running_s()
        await asyncio.to_thread(service.process.stop)
        assert running_s() - began_s < 3
    assert service.tracebacks == []


@pytest.mark.timed
async def test_it_ends_in_order_while_streams_are_open(
    service: Service, flow: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{service.url}/live/flow?flow={flow}") as live:
        began_s = running_s()
        assert await asyncio.to_thread(service.process.stop) == 0
        assert running_s() - began_s < 4
        assert live.status == 200


async def test_passwords_of_the_command_are_taken_over_the_network(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    put_user(users, "alice", cheap_hash("correct horse"))
    service = console(
        broker_url,
        flow=flow,
        CONSOLE__HOST="0.0.0.0",
        CONSOLE__AUTH="basic",
        CONSOLE__USERS_FILE=str(users),
    )
    with service.process:
        await service.ready(http)
        async with http.get(f"{service.url}/api/v1/flows") as answer:
            assert answer.status == 401
        known = {"Authorization": aiohttp.encode_basic_auth("alice", "correct horse")}
        async with http.get(f"{service.url}/api/v1/flows", headers=known) as answer:
            assert answer.status == 200
        async with http.post(
            f"{service.url}/api/v1/pause",
            json={"flow": flow},
            headers=known,
        ) as answer:
            assert (await answer.json())["paused_by"] == "alice"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CONSOLE__HOST": "0.0.0.0"}, "loopback only"),
        ({"CONSOLE__AUTH": "basic"}, "USERS_FILE is not set"),
        ({"CONSOLE__AUTH": "proxy"}, "TRUSTED_PROXIES is not set"),
    ],
)
async def test_unsafe_settings_stop_the_start(settings: dict[str, str], words: str) -> None:
    service = console("amqp://127.0.0.1:1/", flow="default2", preloaded=False, **settings)
    service.process.start()
    status = await asyncio.to_thread(service.process.wait, 20)
    assert status == 78
    assert words in service.output


async def test_a_large_body_is_refused_before_it_is_read(service: Service) -> None:
    head = b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = await exchange(service.url, head + b"Content-Length: 999999999\r\n\r\n" + b"x" * 300_000)
    assert answer.status == 413
