"""The guards that every request passes, over a socket."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from eventflow.users import put_user
from eventflow_console.actions import Actions
from eventflow_console.auth import basic
from eventflow_console.auth.throttle import FAILURES_MAX
from eventflow_console.server import CONNECTIONS_MAX
from tests.support.console import Console, cheap_hash, console
from tests.support.http import exchange
from tests.support.wait import eventually

PASSWORD = "correct horse"


@pytest.fixture
async def open_console() -> AsyncIterator[Console]:
    async with console() as running:
        yield running


@pytest.fixture
def users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(basic, "WRONG_ANSWER_DELAY_S", 0.05)
    path = tmp_path / "users"
    put_user(path, "alice", cheap_hash(PASSWORD))
    return path


def basic_header(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", ["/about", "/nothing", "/api/v1/nothing"])
async def test_every_answer_forbids_what_is_not_ours(open_console: Console, path: str):
    answer = await open_console.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_malformed_request_is_answered_with_a_problem_and_the_same_headers(open_console: Console):
    answer = await exchange(open_console.url, b"GET <script> HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n")
    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert b"script" not in answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"].lower()


async def test_errors_are_problems_in_the_api_and_pages_elsewhere(open_console: Console):
    api, page = await open_console.get("/api/v1/nothing"), await open_console.get("/nothing")
    assert (api.status, api.headers["Content-Type"]) == (404, "application/problem+json")
    assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_another_host_name_is_refused(open_console: Console):
    assert (await open_console.get("/about", headers={"Host": "evil.example"})).status == 421
    assert (await open_console.get("/about", headers={"Host": "localhost:1"})).status == 200
    answer = await exchange(open_console.url, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert answer.status in {400, 421}
    assert (await exchange(open_console.url, b"GET / HTTP/1.0\r\n\r\n")).status == 421


async def test_a_change_by_another_site_is_refused_and_counted(open_console: Console):
    answer = await open_console.post("/about", headers={"Origin": "https://evil.example"})
    assert answer.status == 403
    assert open_console.counted("eventflow_console_changes_refused_total", reason="foreign") == 1


async def test_a_console_that_only_shows_refuses_every_change():
    async with console(read_only=True) as running:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await running.request(method, "/about", json={})
            assert answer.status == 403
            assert "READ_ONLY" in answer.text
        assert (await running.get("/about")).status == 200


async def test_a_password_is_asked_for(users_file: Path):
    async with console(auth="basic", users_file=users_file) as running:
        answer = await running.get("/about")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert (await running.get("/about", headers=basic_header("alice", PASSWORD))).status == 200
        assert (await running.get("/nothing")).status == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic YWxpY2U=", "Bearer x", "Basic " + "/" * 4000])
async def test_malformed_credentials_are_refused(users_file: Path, header: str):
    async with console(auth="basic", users_file=users_file) as running:
        assert (await running.get("/about", headers={"Authorization": header})).status == 401


async def test_a_wrong_password_is_slowed_counted_and_not_logged(users_file: Path):
    async with console(auth="basic", users_file=users_file) as running:
        with capture_logs() as logs:
            began_s = time.monotonic()
            wrong = await running.get("/about", headers=basic_header("alice", "wrong password"))
            took_s = time.monotonic() - began_s
            unknown = await running.get("/about", headers=basic_header("mypassword", "wrong password"))
    assert (wrong.status, unknown.status) == (401, 401)
    assert took_s >= 0.05
    assert wrong.text == unknown.text
    assert running.counted("eventflow_console_logins_refused_total", reason="wrong_password") == 1
    assert running.counted("eventflow_console_logins_refused_total", reason="unknown_user") == 1
    refused = [line for line in logs if line["event"] == "login.refused"]
    assert [line["user"] for line in refused] == ["alice", None]
    assert "wrong password" not in str(logs)
    assert "mypassword" not in str(logs)


async def test_many_wrong_passwords_lock_out_their_address_but_no_one_who_is_known(users_file: Path):
    async with console(auth="basic", users_file=users_file) as running:
        assert (await running.get("/about", headers=basic_header("alice", PASSWORD))).status == 200
        tries = [running.get("/about", headers=basic_header("alice", f"wrong {n}")) for n in range(FAILURES_MAX + 5)]
        statuses = [answer.status for answer in await asyncio.gather(*tries)]
        assert sorted(statuses) == [401] * FAILURES_MAX + [429] * 5
        refused = await running.get("/about", headers=basic_header("bob", "another"))
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert (await running.get("/about", headers=basic_header("alice", PASSWORD))).status == 200


async def test_a_proxy_names_the_operator():
    async with console(auth="proxy", trusted_proxies=["127.0.0.1"], user_header="X-User") as running:
        assert (await running.get("/about", headers={"X-User": "alice"})).status == 200
        assert (await running.get("/about")).status == 403
        assert (await running.get("/about", headers={"X-User": "a" * 65})).status == 403
        twice = [("X-User", "mallory"), ("X-User", "alice")]
        async with running.client.get(running.url, headers=twice) as answer:
            assert answer.status == 403


async def test_only_a_trusted_proxy_may_name_the_operator():
    async with console(auth="proxy", trusted_proxies=["192.0.2.1"]) as running:
        answer = await running.get("/about", headers={"X-Forwarded-User": "alice"})
        assert answer.status == 403
        assert running.counted("eventflow_console_logins_refused_total", reason="not_a_proxy") == 1


async def test_a_query_is_not_logged(open_console: Console):
    with capture_logs() as logs:
        await open_console.get("/nothing?password=hunter2")
    assert any(line["event"] == "request.answered" for line in logs)
    assert "hunter2" not in str(logs)


async def test_requests_are_counted_by_route_and_not_by_address(open_console: Console):
    await open_console.get("/about")
    for number in range(3):
        await open_console.get(f"/nothing-{number}")
    assert open_console.counted("eventflow_console_requests_total", route="/about", status="2xx") == 1
    assert open_console.counted("eventflow_console_requests_total", route="none", status="4xx") == 3


async def test_a_change_is_completed_although_the_client_has_left(
    open_console: Console, monkeypatch: pytest.MonkeyPatch
):
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def pause(*_: object, **__: object) -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    monkeypatch.setattr(Actions, "pause", pause)
    leaving = asyncio.create_task(open_console.post("/api/v1/pause", json={"flow": "default"}))
    await begun.wait()
    leaving.cancel()
    await asyncio.wait([leaving])
    await asyncio.sleep(0.05)
    go_on.set()
    async with asyncio.timeout(30):
        await ended.wait()


async def test_a_redirect_is_counted_too(open_console: Console):
    assert (await open_console.get("/")).status == 302
    assert open_console.counted("eventflow_console_requests_total", route="/", status="3xx") == 1


async def test_long_lines_and_many_headers_are_refused(open_console: Console):
    async with aiohttp.ClientSession() as client:
        async with client.get(open_console.url, headers={"X": "x" * 9000}) as answer:
            assert answer.status == 431
        async with client.get(open_console.url, headers={f"X-{number}": "1" for number in range(200)}) as answer:
            assert answer.status == 431


async def test_refused_bodies_that_do_not_come_leave_room_for_others(users_file: Path) -> None:
    async with console(auth="basic", users_file=str(users_file)) as running, AsyncExitStack() as connections:
        port = int(running.url.rpartition(":")[2])
        head = f"POST /control HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100\r\n\r\n".encode()
        for _ in range(CONNECTIONS_MAX):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            connections.callback(writer.close)
            writer.write(head)

        async def has_room() -> bool:
            return (await running.get("/about")).status == 401

        await eventually(has_room, what="room for another connection")
