"""The admin listener: its port, and the version in /readyz."""

import socket
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest

import eventflow
from eventflow.errors import SettingsError
from eventflow.service.admin import Readiness, serve
from eventflow.settings import addresses
from eventflow.settings.processor import ProcessorSettings
from eventflow.telemetry.metrics import Exposition

SETTING = "EVENTFLOW_PROCESSOR__ADMIN_PORT"


def admin(port: int, *, is_port_set: bool) -> AbstractAsyncContextManager[int]:
    settings = ProcessorSettings.model_construct({"admin_port"} if is_port_set else set(), admin_port=port)
    return serve(
        settings,
        setting=SETTING,
        readiness=lambda: Readiness(ready=True),
        exposition=lambda _: Exposition(body=b"", content_type="text/plain"),
    )


async def test_readyz_has_the_version() -> None:
    async with (
        admin(0, is_port_set=True) as port,
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/readyz") as answer,
    ):
        assert await answer.json() == {"ready": True, "version": eventflow.__version__}


async def test_a_port_that_is_not_set_moves_to_the_next_free_one_and_one_that_is_set_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with admin(port, is_port_set=False) as moved:
            assert port < moved < port + addresses.ADMIN_PORTS_TRIED
        with pytest.raises(
            SettingsError, match=f"{SETTING} = {port}: .* without this setting the next free port is used"
        ):
            async with admin(port, is_port_set=True):
                pass


def test_a_service_leaves_the_usual_ports_of_the_others_free() -> None:
    assert addresses.admin_ports_from(9464)[:3] == [9464, 9468, 9469]
    assert addresses.admin_ports_from(9465)[:3] == [9465, 9468, 9469]
    assert addresses.admin_ports_from(9466)[:3] == [9466, 9468, 9469]
