"""Lookups: shared by all callers, cached, and replaced by the previous addresses if no name server answers."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eventflow.network.resolver import FRESH_S, GIVEN_UP_AFTER_S, LOOK_AGAIN_S, AddressInfo, Resolver
from tests.support.surroundings import with_address
from tests.support.wait import eventually

NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def at(address: str) -> list[AddressInfo]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]


@dataclass
class NameServer:
    """Answers as it is set; while it is silent, a lookup hangs."""

    answer: Sequence[AddressInfo] | Exception = field(default_factory=lambda: at("192.0.2.1"))
    asked: int = 0
    now_s: float = 100.0
    speaks: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.speaks.set()

    def look_up(self, _host: str, _port: int) -> Sequence[AddressInfo]:
        self.asked += 1
        self.speaks.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @contextmanager
    def silent(self) -> Iterator[None]:
        self.speaks.clear()
        try:
            yield
        finally:
            self.speaks.set()

    def resolver(self) -> Resolver:
        return Resolver(look_up=self.look_up, clock=lambda: self.now_s)


async def test_one_lookup_serves_all_that_ask_and_the_next_ten_seconds() -> None:
    server = NameServer()
    resolver = server.resolver()
    found = await asyncio.gather(*(resolver.addresses_of("a", 80) for _ in range(50)))
    assert found == [at("192.0.2.1")] * 50
    server.now_s += FRESH_S - 0.1
    assert await resolver.addresses_of("a", 80) == at("192.0.2.1")
    assert server.asked == 1
    server.answer = at("192.0.2.2")
    server.now_s += 0.2
    assert await resolver.addresses_of("a", 80) == at("192.0.2.2")


async def test_addresses_in_doubt_are_looked_up_at_once() -> None:
    server = NameServer()
    resolver = server.resolver()
    await resolver.addresses_of("a", 80)
    server.answer = at("192.0.2.2")
    resolver.doubt("a", 80)
    resolver.doubt("unknown", 80)
    assert await resolver.addresses_of("a", 80) == at("192.0.2.2")


async def test_while_no_name_server_answers_the_last_addresses_serve() -> None:
    server = NameServer()
    resolver = server.resolver()
    await resolver.addresses_of("a", 80)
    server.answer = NO_ANSWER
    server.now_s += FRESH_S
    assert await resolver.addresses_of("a", 80) == at("192.0.2.1")
    assert await resolver.addresses_of("a", 80) == at("192.0.2.1")
    assert server.asked == 2  # and not for each that asks
    server.now_s += LOOK_AGAIN_S
    server.answer = at("192.0.2.2")
    assert await resolver.addresses_of("a", 80) == at("192.0.2.2")


async def test_while_a_name_server_is_silent_the_last_addresses_serve_after_a_second_in_all() -> None:
    server = NameServer()
    resolver = Resolver(look_up=server.look_up)
    await resolver.addresses_of("a", 80)
    resolver.doubt("a", 80)
    with server.silent():
        began_s = time.monotonic()
        for _ in range(20):
            assert await resolver.addresses_of("a", 80) == at("192.0.2.1")
        assert 0.9 < time.monotonic() - began_s < 5
        assert server.asked == 2


async def test_a_name_that_is_gone_is_not_used_any_more() -> None:
    server = NameServer()
    resolver = server.resolver()
    await resolver.addresses_of("a", 80)
    server.answer = NO_SUCH_NAME
    server.now_s += FRESH_S
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.addresses_of("a", 80)


async def test_silent_names_delay_no_other_name() -> None:
    """nodejs/node#8436. Reproduced on 0.1.0: four silent names took all lookup threads of the process."""
    server, healthy = NameServer(), NameServer()
    with server.silent():
        silent = [asyncio.create_task(server.resolver().addresses_of(f"silent-{number}", 80)) for number in range(20)]
        await eventually(lambda: server.asked == 20, what="20 names under way")
        async with asyncio.timeout(10):
            assert await healthy.resolver().addresses_of("a", 80) == at("192.0.2.1")
        for lookup in silent:
            lookup.cancel()
        await asyncio.gather(*silent, return_exceptions=True)


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    server = NameServer()
    resolver = server.resolver()
    with server.silent():
        impatient, patient = (asyncio.create_task(resolver.addresses_of("a", 80)) for _ in range(2))
        await eventually(lambda: server.asked == 1, what="a lookup")
        impatient.cancel()
        await asyncio.wait({impatient})
    assert await patient == at("192.0.2.1")
    assert server.asked == 1


async def test_a_lookup_that_hangs_for_ever_does_not_keep_a_name_from_others() -> None:
    """Found in review: one thread that hung in the system's resolver made its name unusable until a restart."""
    server = NameServer()
    resolver = server.resolver()
    with server.silent():
        hanging = asyncio.create_task(resolver.addresses_of("a", 80))
        await eventually(lambda: server.asked == 1, what="a lookup")
        server.now_s += GIVEN_UP_AFTER_S + 1
        waiting = [asyncio.create_task(resolver.addresses_of("a", 80)) for _ in range(3)]
        await eventually(lambda: server.asked == 2, what="another lookup")
        server.now_s += GIVEN_UP_AFTER_S + 1
        waiting.append(asyncio.create_task(resolver.addresses_of("a", 80)))
        await asyncio.sleep(0)
        assert server.asked == 2, "the limit is doubled"
    assert await asyncio.gather(hanging, *waiting) == [at("192.0.2.1")] * 5
    assert await resolver.addresses_of("a", 80) == at("192.0.2.1")


async def test_localhost_and_impossible_names() -> None:
    """The real lookup; an empty label and one of 64 characters cannot be sent to any name server."""
    resolver = Resolver()
    families = {info[0] for info in await resolver.addresses_of("localhost", 80)}
    assert socket.AF_INET in families
    for host in (".default.svc", "a" * 64 + ".test"):
        with pytest.raises(UnicodeError):
            await resolver.addresses_of(host, 80)


def test_a_process_does_not_wait_for_a_silent_name_at_its_end() -> None:
    """Reproduced on 0.1.0: SIGTERM took 16 s, until the loop's own lookups had given up."""
    script = """
import asyncio, time, uvloop
from eventflow.network.resolver import Resolver
async def main():
    lookup = asyncio.create_task(Resolver(look_up=lambda host, port: time.sleep(60)).addresses_of("a", 80))
    await asyncio.sleep(0.1)
    lookup.cancel()
uvloop.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


def test_loopbacks_address_of_ipv6_is_found_on_a_machine_that_has_no_other(tmp_path: Path) -> None:
    """Found in review: `amqp://guest:guest@[::1]/` was "not supported" in a container with IPv4 only; 0.1.0 took it."""
    script = tmp_path / "look_up.py"
    script.write_text(
        "import asyncio\nfrom eventflow.network.resolver import Resolver\n"
        "print(asyncio.run(Resolver().addresses_of('::1', 80))[0][4][0])\n"
    )
    command = [*with_address("192.0.2.9/24"), sys.executable, script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout.strip() == "::1", ended.stderr
