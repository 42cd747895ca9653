"""`make run-example` and `make orders` as their commands: a shop whose handler books orders, until Ctrl-C."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from eventflow.cli.run_file import DEFAULT_PATH, RunFile
from sandbox.broker.node import PrivateNode
from sandbox.processes import scrubbed_environment, wait_until
from sandbox.shop.environment import DATABASE_VARIABLE
from tests.support.databases import fetch
from tests.support.terminal import CTRL_C, Terminal

ORDERS = 60
NO_ORDER = b'{"id": "no-order", "article": "lamp"}'


class Shop:
    """A run of the example in a directory of its own."""

    def __init__(self, terminal: Terminal, directory: Path, environment: dict[str, str]) -> None:
        self.terminal = terminal
        self.directory = directory
        self.environment = environment
        run_file = RunFile.read(directory / DEFAULT_PATH)
        assert run_file is not None
        self.here = run_file

    def command(self, *words: str) -> "subprocess.Popen[str]":
        """Start a program of a second terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def booked(self) -> list[str]:
        """Return the reference of each booking."""
        rows = asyncio.run(fetch(self.here.settings[DATABASE_VARIABLE], "SELECT reference FROM orders"))
        return [row["reference"] for row in rows]

    def notified(self) -> set[str]:
        """Return the ids of all notifications at the target."""
        with urlopen(f"{self.here.audit_url}/ids") as answer:
            return {json.loads(line)["id"] for line in answer}

    def post(self, body: bytes) -> int:
        """Post an order; return the status."""
        request = Request(self.here.events_url, data=body, headers={"X-Api-Key": self.here.api_key})
        try:
            with urlopen(request) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code


@contextmanager
def open_shop(directory: Path, **given: str) -> Iterator[Shop]:
    """Run the example; at the end press Ctrl-C, and check that nothing is left."""
    state = {"XDG_STATE_HOME": str(directory / "state"), "TMPDIR": str(directory / "temporary")}
    (directory / "temporary").mkdir()
    terminal = Terminal(sys.executable, "-m", "sandbox.shop", cwd=directory, **state, **given)
    terminal.wait_for("TABLE orders", timeout_s=180)
    yield Shop(terminal, directory, scrubbed_environment() | state)
    processes = descendants_of(terminal.pid)
    assert len(processes) > 7
    terminal.type(CTRL_C)
    assert terminal.end() == 0
    assert "Traceback" not in terminal.text
    assert terminal.text.rstrip().endswith("Stopped.")
    assert not [process for process in processes if Path(f"/proc/{process}").exists()]
    for left in (DEFAULT_PATH.parent, "temporary"):
        assert list((directory / left).iterdir()) == []


def descendants_of(process: int) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = {process}
    while more := {pid for pid, parent in pairs if parent in found} - found:
        found |= more
    return found - {process}


def databases_of_shops(server_url: str) -> set[str]:
    """Return the databases of examples. Other tests make databases on the same server meanwhile."""
    found = asyncio.run(fetch(server_url, "SELECT datname FROM pg_database WHERE datname LIKE 'shop%'"))
    return {row["datname"] for row in found}


@pytest.mark.timeout(600)
def test_each_order_is_booked_once_and_notified_while_a_processor_is_killed(
    node: PrivateNode, database_server_url: str, tmp_path: Path
) -> None:
    before = databases_of_shops(database_server_url)
    with open_shop(tmp_path, EVENTFLOW_BROKER__URL=node.url, EVENTFLOW_TEST_DATABASE_URL=database_server_url) as shop:
        posting = shop.command("sandbox.shop.orders", "--count", str(ORDERS), "--rate", "40")
        wait_until(lambda: len(shop.booked()) > ORDERS // 10, timeout_s=60, what="the first orders")
        processor = re.search(r"kill -9 (\d+)", shop.terminal.text)
        assert processor is not None
        os.kill(int(processor[1]), signal.SIGKILL)
        shop.terminal.wait_for("processor was killed; it starts again as process")
        output, _ = posting.communicate(timeout=240)
        assert posting.returncode == 0, output
        bookings = shop.booked()
        assert len(bookings) == len(set(bookings))
        notifications = shop.notified()
        assert len(notifications) == ORDERS
        assert {f"{reference}/0" for reference in bookings} < notifications, "some are sold out"

        assert shop.post(NO_ORDER) == 202
        shop.terminal.wait_for("handler_rejected")
        letter, _ = shop.command("eventflow.cli", "dead", "show", "no-order", "--flow", "orders").communicate(
            timeout=60
        )
        assert "this is no order: KeyError('pieces')" in letter
    assert databases_of_shops(database_server_url) == before
