"""Reports to the service manager, received at a socket as systemd's."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventflow.service.supervision import PINGS_PER_TIMEOUT, supervised


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(address)
        receiving.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield receiving


def received(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


async def test_the_begin_and_the_end_of_the_work_are_reported(manager: socket.socket) -> None:
    async with supervised():
        assert received(manager) == ["READY=1"]
    assert received(manager) == ["STOPPING=1"]


@pytest.mark.virtual_time
async def test_keep_alive_messages_come_more_often_than_the_manager_expects_them(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    async with supervised():
        await asyncio.sleep(0.3)
    assert received(manager).count("WATCHDOG=1") > PINGS_PER_TIMEOUT


@pytest.mark.parametrize("variables", [{"WATCHDOG_USEC": "30000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "none"}])
async def test_no_keep_alive_message_is_sent_if_none_is_expected_of_this_process(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with supervised():
        await asyncio.sleep(0.05)
    assert received(manager) == ["READY=1", "STOPPING=1"]


async def test_a_manager_in_the_abstract_namespace_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"eventflow-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        async with supervised():
            assert receiving.recv(4096) == b"READY=1"


async def test_a_manager_that_is_gone_or_does_not_read_stops_nothing(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(1000):  # until its buffer is full
        async with supervised():
            pass
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent")
    async with supervised():
        pass
