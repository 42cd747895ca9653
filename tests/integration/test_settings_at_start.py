"""Settings that cannot be what was meant, and surroundings that differ: real processes at their start."""

import asyncio
import ctypes
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.service.lifecycle import EXIT_CONFIGURATION, EXIT_PROBLEM
from sandbox.ports import free_port
from sandbox.processes import ChildProcess
from tests.support.cli import Command
from tests.support.means import cannot
from tests.support.preloaded import PreloadedProcess
from tests.support.programs import ended
from tests.support.services import API_KEY, Service, collector, processor, scrubbed_environment
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

COLLECTOR, PROCESSOR, CHECK = (
    ("-m", "eventflow_collector"),
    ("-m", "eventflow_processor"),
    ("-m", "eventflow.cli", "check"),
)
LIVEZ = str(Path(__file__).parents[2] / "deploy" / "livez.py")
SOUND = {"SOURCE__API_KEYS": API_KEY, "TARGET__URL": "http://127.0.0.1:9/"}
CLONE_NEWUTS = 0x04000000


@pytest.mark.parametrize(
    ("program", "settings", "told"),
    [
        (COLLECTOR, {"COLLECTOR__SPOOL_DIR": '"/vol"'}, "quotes"),
        (COLLECTOR, {"COLLECTOR__SPOOL_DIR": "~/spool"}, "absolute"),
        (COLLECTOR, {"COLLECTOR__SPOOL_DIR": "$HOME/spool"}, "absolute"),
        (COLLECTOR, {"COLLECTOR__SPOOL_DIR": "spool", "COLLECTOR__WORKERS": "2"}, "absolute"),
        (COLLECTOR, {"COLLECTOR__HOST": ".."}, "host"),
        (COLLECTOR, {"COLLECTOR__ADMIN_HOST": "a" * 64}, "host"),
        (COLLECTOR, {"OTEL_EXPORTER_OTLP_ENDPOINT": '"http://h/"'}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (
            COLLECTOR,
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://.h:4318/T0KEN", "COLLECTOR__WORKERS": "2"},
            "http://.h:4318/...",
        ),
        (PROCESSOR, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h/", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "x"}, "OTEL_"),
        (COLLECTOR, {"SOURCE__API_KEYS": '""'}, "EVENTFLOW_SOURCE__API_KEYS"),
        (COLLECTOR, {"SOURCE__API_KEYS": "${API_KEY}"}, "not expanded"),
        (PROCESSOR, {"TARGET__URL": "http://.default.svc/"}, "host"),
        (PROCESSOR, {"TARGET__URL": f"http://{'a' * 64}/T0KEN"}, "host"),
        (PROCESSOR, {"TARGET__URL": "http://h:99999/T0KEN"}, "http://h:99999/..."),
        (PROCESSOR, {"TARGET__URL": '"https://h/T0KEN"'}, "quotes"),
        (PROCESSOR, {"TARGET__CONCURRENCY": '"5"'}, "quotes"),
        (PROCESSOR, {"TARGET_RATE_PER_S": "2"}, "is EVENTFLOW_TARGET__RATE_PER_S meant?"),
        (PROCESSOR, {"TARGET__COST": "1e-300", "TARGET__RATE_PER_S": "100"}, "EVENTFLOW_TARGET__COST"),
        (PROCESSOR, {"eventflow_target__rate_per_s": "fast"}, "EVENTFLOW_TARGET__RATE_PER_S = 'fast'"),
        (PROCESSOR, {"TARGET__HEADERS": '{"Content-Length": "3"}'}, "Content-Length"),
        (CHECK, {"TARGET__URL": "http://.default.svc/"}, "host"),
        (CHECK, {"BROKER__MANAGEMENT_URL": "http://h:99999"}, "EVENTFLOW_BROKER__MANAGEMENT_URL"),
        (CHECK, {"CONFIG": "relative.toml"}, "EVENTFLOW_CONFIG"),
    ],
)
async def test_a_setting_that_cannot_be_what_was_meant_ends_the_program_in_one_line(
    program: tuple[str, ...], settings: dict[str, str], told: str, tmp_path: Path
) -> None:
    """docker/cli#4665, bodhi#3235, openbikesensor/portal#301, pydantic-settings#44.

    Reproduced on 0.1.0: a spool in a folder `"` below the working directory, up to 371 lines of traceback, 240 crashed
    attempts, or no word at all.
    """
    status, output = await ended(*program, cwd=tmp_path, **{**SOUND, **settings})
    assert (status, len(output.splitlines())) == (EXIT_CONFIGURATION, 1), output
    assert told in output
    assert "T0KEN" not in output
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - of no consequence in a test


async def test_a_key_in_lower_case_is_a_key(broker_url: str, flow: str, http: aiohttp.ClientSession) -> None:
    """pydantic-settings#44. Reproduced on 0.1.0: the name was ignored, and on loopback every sender was let in."""
    source = f"FLOWS__{flow.upper()}__SOURCE__"
    named = {f"{source}VERIFY": "none", f"eventflow_{source}api_keys".lower(): API_KEY}
    service = collector(broker_url, flow=flow, **named)
    with service.process:
        await service.ready(http)
        assert await status_of(http, service.url) == 202
        assert await status_of(http, service.url, key="another-key") == 401


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_every_address_of_ipv6_takes_ipv4_too(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path, workers: str
) -> None:
    """borgwarehouse#139. Reproduced on 0.1.0: `HOST=::` refused IPv4, and the image's health check failed."""
    everywhere = {"COLLECTOR__HOST": "::", "COLLECTOR__ADMIN_HOST": "[::]"}
    service = collector(broker_url, flow=flow, **everywhere, COLLECTOR__WORKERS=workers)
    with service.process:
        await service.ready(http)
        assert await status_of(http, service.url) == 202
        assert await status_of(http, service.url.replace("127.0.0.1", "[::1]")) == 202
        admin = {"COLLECTOR__ADMIN_PORT": service.admin_url.rpartition(":")[2]}
        assert await is_alive(tmp_path, **admin, COLLECTOR__ADMIN_HOST="::")
        assert await is_alive(tmp_path, **admin, COLLECTOR__ADMIN_HOST="0.0.0.0")


@pytest.mark.parametrize(("address", "shown"), [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]")])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_admin_listener_is_reachable_at_the_address_of_a_pod_only(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path, workers: str, address: str, shown: str
) -> None:
    """Kubernetes puts a bare address into the variable, of IPv4 or IPv6, and sends its probes there."""
    service = collector(broker_url, flow=flow, COLLECTOR__ADMIN_HOST=address, COLLECTOR__WORKERS=workers)
    elsewhere, port = service.admin_url, service.admin_url.rpartition(":")[2]
    service.admin_url = f"http://{shown}:{port}"
    with service.process:
        await service.ready(http)
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(f"{elsewhere}/livez")
        assert await is_alive(tmp_path, COLLECTOR__ADMIN_HOST=address, COLLECTOR__ADMIN_PORT=port)


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
async def test_an_admin_address_of_another_machine_is_named_with_its_setting(
    broker_url: str, flow: str, tmp_path: Path, address: str
) -> None:
    settings = {**SOUND, "BROKER__URL": broker_url, "COLLECTOR__ADMIN_HOST": address, "COLLECTOR__PORT": "0"}
    status, output = await ended(*COLLECTOR, cwd=tmp_path, **settings)
    assert status == EXIT_PROBLEM
    assert f"EVENTFLOW_COLLECTOR__ADMIN_HOST = '{address}': cannot listen on" in output
    assert "no interface of this machine has that address" in output


@pytest.mark.parametrize(
    "place", ["variables", "lower case", "file", "working directory", "EVENTFLOW_CONFIG", "--config"]
)
async def test_the_health_check_asks_where_the_settings_place_the_admin_listener(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path, place: str
) -> None:
    """Reproduced on 0.1.0: it asked 127.0.0.1 only, at the ports of the environment, so a TOML file made it fail."""
    host, port = "127.0.0.2", str(free_port())
    (tmp_path / "port").write_text(port)
    (tmp_path / ("eventflow.toml" if place == "working directory" else "some.toml")).write_text(
        f'[processor]\nadmin_host = "{host}"\nadmin_port = {port}\n'
    )
    settings = {
        "variables": {"PROCESSOR__ADMIN_HOST": host, "PROCESSOR__ADMIN_PORT": port},
        "lower case": {"eventflow_processor__admin_host": host, "eventflow_processor__admin_port": port},
        "file": {"PROCESSOR__ADMIN_HOST": host, "PROCESSOR__ADMIN_PORT_FILE": str(tmp_path / "port")},
        "EVENTFLOW_CONFIG": {"CONFIG": str(tmp_path / "some.toml")},
    }.get(place, {}) | {"COLLECTOR__ADMIN_PORT": str(free_port())}  # at the usual one another may answer
    # The health check reads the command line of the program, which a forked process does not have.
    kind, command = (
        (ChildProcess, [Path(sys.executable).with_name("eventflow-processor"), "--config", "some.toml"])
        if place == "--config"
        else (PreloadedProcess, [sys.executable, "-m", "eventflow_processor"])
    )
    assert place == "--config" or not await is_alive(tmp_path, **settings)  # without a service it asks the usual ports
    process = kind(
        "processor",
        command,
        env=scrubbed_environment()
        | {name if name.islower() else f"EVENTFLOW_{name}": value for name, value in settings.items()}
        | {"EVENTFLOW_BROKER__URL": broker_url, f"EVENTFLOW_FLOWS__{flow.upper()}__TARGET__URL": "http://127.0.0.1:9/"},
        cwd=tmp_path,
    )
    service = Service(process=process, admin_url=f"http://{host}:{port}", url="", tracebacks=[])
    with process:
        await service.ready(http)
        assert await is_alive(tmp_path, **settings)


@pytest.mark.parametrize(
    "settings",
    [{}, {"COLLECTOR__ADMIN_PORT": "0"}, {"CONFIG": "/nowhere"}, {"COLLECTOR": "x"}, {"COLLECTOR__ADMIN_PORT": "x"}],
)
async def test_the_health_check_gives_the_reason_in_one_line(tmp_path: Path, settings: dict[str, str]) -> None:
    unused = {"COLLECTOR__ADMIN_PORT": str(free_port()), "PROCESSOR__ADMIN_PORT": str(free_port())}
    status, output = await ended("-I", LIVEZ, cwd=tmp_path, **{**unused, **settings})
    assert (status, len(output.splitlines())) == (1, 1), output
    assert output.startswith("not alive: ")


async def test_an_idle_connection_is_kept_for_as_long_as_the_setting(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """eq-survey-runner#2379: a balancer kept connections longer than the 75 s of before, and its clients got 502s."""
    service = collector(broker_url, flow=flow, COLLECTOR__KEEP_ALIVE_S="1.5")
    with service.process:
        await service.ready(http)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.split(":")[2].partition("/")[0]))
        began_s = time.monotonic()  # before the answer, at which the collector's time begins
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.read()  # the body, and the end
        assert head.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began_s > 1.0
        writer.close()


@pytest.fixture
def named_host(broker_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give this process, and those that it starts, another host name; the broker is there already, with the old one."""
    own = os.open("/proc/self/ns/uts", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUTS) != 0:
        cannot("no right to make a namespace of host names")
    try:
        socket.sethostname(request.param)
        yield request.param
    finally:
        libc.setns(own, CLONE_NEWUTS)
        os.close(own)


@pytest.mark.parametrize("named_host", ["O'Brien-PC", "Zo\u00eb's Mac (2) " + "h" * 40], indirect=True)
async def test_any_host_name_is_one_to_work_under(
    named_host: str, broker_url: str, flow: str, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    """celery#1539: `O'Brien-PC` made a name of a queue that the AMQP library refuses, and the processor ended."""
    # A preloaded process would not see the name: it comes from one that may have begun before.
    taking = collector(broker_url, flow=flow, preloaded=False)
    handing = processor(broker_url, flow=flow, target_url=target.url, preloaded=False)
    with taking.process, handing.process:
        await asyncio.gather(taking.ready(http), handing.ready(http))
        assert await status_of(http, taking.url) == 202
        await eventually(lambda: len(target.taken) == 1, what=lambda: f"a delivery:\n{handing.output}")
        command = Command(broker_url=broker_url, flow=flow)
        asked = await command("why", target.taken[0].headers["ce-id"])
        assert "delivered" in asked.stdout, asked
        assert (await command("pause", flow)).status == 0


async def status_of(http: aiohttp.ClientSession, url: str, *, key: str = API_KEY) -> int:
    async with http.post(url, data=b"{}", headers={"X-Api-Key": key}) as answer:
        return answer.status


async def is_alive(cwd: Path, **settings: str) -> bool:
    """Run the image's health check."""
    status, output = await ended("-I", LIVEZ, cwd=cwd, **settings)
    assert "Traceback" not in output
    return status == 0
