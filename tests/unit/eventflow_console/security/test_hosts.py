"""The host names by which the console may be reached."""

import pytest

from eventflow_console.security.hosts import Hosts, is_loopback


@pytest.mark.parametrize(
    "header", ["localhost", "localhost:8088", "LOCALHOST", "localhost.", "127.0.0.1:1", "127.0.0.2", "[::1]:8088"]
)
def test_loopback_is_always_accepted(header: str):
    assert Hosts("0.0.0.0", ()).accept(header, local_address=None)


@pytest.mark.parametrize("header", ["console.example", "console.example:443", "Ops.Example.", "ops.example:8088"])
def test_the_names_in_the_settings_are_accepted(header: str):
    assert Hosts("console.example", ("ops.example",)).accept(header, local_address=None)


def test_the_address_of_the_connection_is_accepted():
    hosts = Hosts("0.0.0.0", ())
    assert hosts.accept("10.0.0.7:8088", local_address="10.0.0.7")
    assert hosts.accept("10.0.0.7:8088", local_address="::ffff:10.0.0.7")
    assert hosts.accept("[fe80::1]:8088", local_address="fe80::1%eth0")
    assert not hosts.accept("10.0.0.8:8088", local_address="10.0.0.7")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example:80:80",
        "console.example/",
        "console.example evil",
        "[::1",
        "127.0.0.1.evil.example",
        "0.0.0.0",
    ],
)
def test_any_other_name_is_refused(header: str):
    assert not Hosts("console.example", ()).accept(header, local_address="10.0.0.7")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_a_listener_on_loopback_is_known(host: str, expected: bool):
    assert is_loopback(host) is expected
