"""Connections that only show whether a target can be reached."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from eventflow.network.failure import MEANINGS, detail_of
from eventflow.network.probe import reach, speaks_tls
from eventflow.network.resolver import AddressInfo
from sandbox.ports import free_port
from tests.support.certificates import Authority


def at(port: int, address: str = "127.0.0.1") -> AddressInfo:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (address, port)


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def test_a_certificate_does_not_have_the_dot_of_a_full_name(tmp_path: Path) -> None:
    """Reproduced on 0.1.0: `check` refused a target that the processor reached."""
    ca = Authority(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ca.issue("DNS:target.test"))
    trusting = ssl.create_default_context(cafile=str(ca.certificate))
    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=tls) as server:
        addresses = [at(server.sockets[0].getsockname()[1])]
        for name in ("target.test", "target.test."):
            await reach(addresses, server_name=name, tls=trusting)
        assert await speaks_tls(addresses, within_s=5)
        with pytest.raises(OSError, match="Hostname mismatch") as caught:
            await reach(addresses, server_name="other.test.", tls=trusting)
        assert detail_of(caught.value) == "certificate_other_name"


async def test_one_address_that_answers_is_enough() -> None:
    """uptime-kuma#5006: the first, here one to which there is no route or that swallows everything, must not decide."""
    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(3):
            await reach([at(port, "2001:db8::1"), at(port)], server_name="target.test", tls=None)
            assert not await speaks_tls([at(port)], within_s=2)


async def test_of_several_errors_the_most_telling_is_reported() -> None:
    port = free_port()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - of any kind
        await reach([at(port, "2001:db8::1"), at(port)], server_name="target.test", tls=None)
    assert detail_of(caught.value) == "no_listener"


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "no_listener"),
        (ConnectionResetError(104, "Connection reset by peer"), "reset"),
        (OSError(113, "No route to host"), "unreachable"),
        (OSError("Multiple exceptions: [Errno 101] Network is unreachable, [Errno 111] Refused"), "no_listener"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "not_resolved"),
        (ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION]"), "tls_failed"),
        (ConnectionResetError(), "tls_failed"),
        (TimeoutError(), "connect_timeout"),
        (ValueError("of our own"), "other"),
    ],
)
def test_each_error_has_a_word(error: Exception, word: str) -> None:
    assert detail_of(error) == word
    assert word in MEANINGS


def test_each_word_is_documented() -> None:
    rows = Path("docs/operations.md").read_text().splitlines()
    assert [row for row in rows if row.startswith(tuple(f"| `{word}` |" for word in MEANINGS))] == [
        f"| `{word}` | {meaning} |" for word, meaning in MEANINGS.items()
    ]
