"""Lookups of names, and of those that are none."""

import socket

import pytest

from eventflow.addresses import Resolver, resolve


async def test_a_name_has_its_addresses_and_an_address_is_its_own() -> None:
    assert {address[-1][:2] for address in await resolve("localhost", 5672)} <= {("127.0.0.1", 5672), ("::1", 5672)}
    assert [address[-1] for address in await resolve("127.0.0.9", 80)] == [("127.0.0.9", 80)]
    assert [found["host"] for found in await Resolver().resolve("127.0.0.9", 80)] == ["127.0.0.9"]


@pytest.mark.parametrize("name", [".default.svc", "a..b", "x" * 64, "nowhere.invalid", "x" * 300, "10.0.0.300"])
async def test_a_name_that_cannot_be_looked_up_is_an_error_of_the_network(name: str) -> None:
    """Stands for bodhi#3235: an empty label raised a `UnicodeError`, which nobody expects of a network."""
    with pytest.raises(socket.gaierror):
        await resolve(name, 80)
