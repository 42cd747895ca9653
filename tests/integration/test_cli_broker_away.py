"""Each command of `eventflow` while no broker can be used: soon, in one line, and with status 1."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from sandbox.ports import LOOPBACK, free_port
from tests.support.cli import Command
from tests.support.running_time import running_s

WITHIN_S = 2.0
START_S = 2.5
"""The start of a command on a busy machine."""

STARTS = 2.0
"""On a slow machine, the allowed start, as a multiple of a measured one: a start differs from the next."""

AT_A_TIME = 4
"""Commands that run side by side: most of them wait for two seconds."""

COMMANDS = [
    "status",
    "status --watch",
    "status --json",
    "why ID",
    "pause",
    "resume --json",
    "topology",
    "rate show",
    "rate set 5",
    "dead list",
    "dead show ID",
    "dead count",
    "dead export",
    "dead replay ID",
    "dead replay --all --dry-run",
    "dead purge --all --yes",
]


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """The port of a broker that is frozen: the kernel accepts connections, and nothing answers."""
    ended = asyncio.Event()

    async def be_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(be_silent, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1]
        ended.set()


@pytest.fixture(params=["nothing listens", "silent", "no such name"])
def broker_url(request: pytest.FixtureRequest, silent_port: int) -> str:
    places = {
        "nothing listens": f"{LOOPBACK}:{free_port()}",
        "silent": f"{LOOPBACK}:{silent_port}",
        "no such name": "broker.invalid:5672",
    }
    return f"amqp://guest:s3cret@{places[request.param]}/"


@pytest.fixture
async def in_good_time_s() -> float:
    """The longest time that a command may take on this machine, beside as many others as in the tests."""
    began_s = running_s()
    version = Command(broker_url="amqp://localhost/", flow="any")
    ended = await asyncio.gather(*(version("--version") for _ in range(AT_A_TIME)))
    assert {each.status for each in ended} == {0}
    return WITHIN_S + max(START_S, STARTS * (running_s() - began_s))


@pytest.mark.timed
async def test_each_command_without_a_broker_fails_soon_and_in_one_line(
    broker_url: str, flow: str, in_good_time_s: float
) -> None:
    places = asyncio.Semaphore(AT_A_TIME)

    async def fails(command: str) -> None:
        async with places:
            began_s = running_s()
            ended = await Command(broker_url=broker_url, flow=flow)(*command.split())
            taken_s = running_s() - began_s
        assert taken_s < in_good_time_s, command
        assert (ended.status, ended.stdout) == (1, ""), command
        assert ended.stderr.startswith("error: cannot connect to amqp://guest:***@"), command
        assert "Errno" not in ended.stderr, command
        assert ended.stderr.count("\n") == 1, command

    await asyncio.gather(*map(fails, COMMANDS))


@pytest.mark.timed
async def test_check_reports_the_broker_and_goes_on(broker_url: str, flow: str, in_good_time_s: float) -> None:
    began_s = running_s()
    ended = await Command(broker_url=broker_url, flow=flow)("check", "--json", TARGET__URL=f"http://{LOOPBACK}:1/")
    assert running_s() - began_s < in_good_time_s
    assert (ended.status, ended.stderr) == (1, "")
    found = {finding["checked"].split(" ")[0]: finding["verdict"] for finding in json.loads(ended.stdout)["findings"]}
    assert (found["broker"], found["target"]) == ("problem", "problem")
