"""Errors of addresses to listen on: one line with the reason, and what to do."""

import socket

import pytest

from eventflow.errors import AddressUnavailableError
from eventflow.listener import listen

SETTING = "EVENTFLOW_COLLECTOR__PORT"


def test_an_address_in_use_is_named_once_and_with_advice() -> None:
    """Python puts `(while attempting to bind on address ...)` behind the system's words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnavailableError) as error:
            listen("127.0.0.1", port, backlog=1, setting=SETTING)
    assert str(error.value) == (
        f"{SETTING} = {port}: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "`ss -ltnp` shows which process has it"
    )


def test_an_ipv6_address_stands_in_brackets() -> None:
    """`::1:80` could be an address too."""
    with pytest.raises(AddressUnavailableError, match=r"cannot listen on \[fe00::1\]:80: .*no interface"):
        listen("fe00::1", 80, backlog=1, setting=SETTING)
