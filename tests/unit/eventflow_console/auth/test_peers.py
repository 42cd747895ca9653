"""The place that a request comes from."""

from ipaddress import ip_network

import pytest

from eventflow_console.auth.peers import is_within, visitor_of

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("10.0.0.1", "", "10.0.0.1"),
        (None, "198.51.100.7", "unknown"),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy_counts(peer: str | None, forwarded_for: str, expected: str):
    assert visitor_of(peer, forwarded_for, TRUSTED) == expected


def test_an_address_in_no_network_is_not_trusted():
    assert is_within("10.1.2.3", TRUSTED)
    assert not is_within("192.0.2.1", TRUSTED)
    assert not is_within(None, TRUSTED)
    assert not is_within("10.0.0.1", ())
