"""Connections on this machine: what the kernel knows about them, and bytes from one to another."""

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path

from tests.support.wait import eventually


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all bytes until the end of one connection, and close the other."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def until_read(writer: asyncio.StreamWriter) -> None:
    """Wait until the process at the other end, on this machine, has read all that was written, or closed its end."""
    await writer.drain()
    ends = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    await eventually(lambda: not _is_unread(*ends), what="the other end to read")


def _is_unread(local: tuple[str, int], remote: tuple[str, int]) -> bool:
    """Return whether the socket with these ends has received bytes that its process has not read."""
    ends = [_as_hexadecimal(local), _as_hexadecimal(remote)]
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
        _, *here_and_there, _, queues, _ = line.split(maxsplit=5)
        if here_and_there == ends:
            return int(queues.partition(":")[2], 16) > 0
    return False


def _as_hexadecimal(end: tuple[str, int]) -> str:
    """Return an IPv4 address and a port as in /proc/net/tcp: the address is in the byte order of the machine."""
    host, port = end
    [address] = struct.unpack("=I", socket.inet_aton(host))
    return f"{address:08X}:{port:04X}"
