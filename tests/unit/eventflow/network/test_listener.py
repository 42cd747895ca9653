"""Addresses that a service can listen on, and the line with reason and advice for those that it cannot."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eventflow.errors import AddressInUseError, AddressUnavailableError
from eventflow.network.listener import listen, listen_on_first_free
from sandbox.ports import free_port
from tests.support.surroundings import with_address

SETTING = "EVENTFLOW_COLLECTOR__PORT"


def test_an_address_in_use_is_named_once_and_with_advice() -> None:
    """Python puts `(while attempting to bind on address ...)` behind the system's words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError) as error:
            listen("127.0.0.1", port, backlog=1, setting=SETTING)
    assert str(error.value) == (
        f"{SETTING} = {port}: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "`ss -ltnp` shows which process has it"
    )


def test_the_first_free_port_of_several_is_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        taken = [first.getsockname()[1], second.getsockname()[1]]
        free = free_port()
        with listen_on_first_free("127.0.0.1", [*taken, free], backlog=1, setting=SETTING) as listener:
            assert listener.getsockname()[1] == free
        with pytest.raises(AddressInUseError, match=str(taken[1])):
            listen_on_first_free("127.0.0.1", taken, backlog=1, setting=SETTING)


def test_an_ipv6_address_stands_in_brackets() -> None:
    """`::1:80` could be an address too."""
    with pytest.raises(
        AddressUnavailableError,
        match=r"^EVENTFLOW_COLLECTOR__HOST = 'fe00::1': cannot listen on \[fe00::1\]:80: .*no interface",
    ):
        listen("fe00::1", 80, backlog=1, setting=SETTING)


def test_a_link_local_address_is_listened_on_with_its_zone(tmp_path: Path) -> None:
    """Found in review: "Invalid argument" and exit 78; 0.1.0 served admin there."""
    script = tmp_path / "listen.py"
    script.write_text(
        "from eventflow.network.listener import listen\n"
        "print(listen('fe80::9%lo', 0, backlog=1, setting='PORT').getsockname()[0])\n"
    )
    command = [*with_address("fe80::9/64 nodad"), sys.executable, script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout.startswith("fe80::9"), ended.stderr
