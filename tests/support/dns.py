"""A name server of ours, and processes that ask it: it answers, denies or stays silent, name by name."""

import asyncio
import ipaddress
import os
import secrets
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.surroundings import prepared_by

PORT = 53
_A, _AAAA = 1, 28
_NO_SUCH_NAME = 3


class NoNameServerError(Exception):
    """This machine lets us have no name server of our own; the text gives the reason."""


@dataclass(slots=True)
class NameServer:
    """Listens on an address of loopback of its own while its context is open. Needs Linux and the rights of root.

    Attributes:
        addresses: IPv4 and IPv6 addresses of each name; names that are not here do not exist.
        silent: Names for which there is never an answer.
        is_silent: Whether there is an answer for none.
        asked: How often each name was asked for.
    """

    directory: Path
    addresses: dict[str, Sequence[str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    is_silent: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    _host: str = ""
    _transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            raise NoNameServerError("a name server of our own needs the program `unshare` and the rights of root")
        self._host = f"127.53.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        try:
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Protocol(self), local_addr=(self._host, PORT)
            )
        except OSError as error:
            raise NoNameServerError(f"no name server on {self._host}: {error}") from error
        self._resolv_conf.write_text(f"nameserver {self._host}\n")
        trial = [*self.seen_by, "true"]
        done = await asyncio.to_thread(subprocess.run, trial, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self._transport.close()
            raise NoNameServerError(f"no mount namespace: {done.stderr.strip()}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def seen_by(self) -> tuple[str, ...]:
        """The command that starts another one, given as its arguments, so that it asks this server."""
        return prepared_by(f'mount --bind "{self._resolv_conf}" /etc/resolv.conf')

    @property
    def _resolv_conf(self) -> Path:
        return self.directory / "resolv.conf"

    def answer(self, query: bytes) -> bytes | None:
        """Return the answer to a query; None for none."""
        name, end = _name_in(query)
        (kind,) = struct.unpack_from("!H", query, end)
        self.asked[name] += 1
        if self.is_silent or name in self.silent:
            return None
        found = [ipaddress.ip_address(address) for address in self.addresses.get(name, ())]
        packed = [address.packed for address in found if kind == (_A if address.version == 4 else _AAAA)]
        status = 0 if found else _NO_SUCH_NAME
        head = query[:2] + struct.pack("!HHHHH", 0x8580 | status, 1, len(packed), 0, 0)
        # 0xC00C: the name is the question's.
        records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(address)) + address for address in packed)
        return head + query[12 : end + 4] + records


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # it always is
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (answer := self._server.answer(data)) is not None:
            self._transport.sendto(answer, addr)


def _name_in(query: bytes) -> tuple[str, int]:
    """Return the name that a query asks for, and where it ends."""
    labels, at = [], 12
    while (length := query[at]) != 0:
        labels.append(query[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1
