"""HTTP on a raw socket, for what no client library would send."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

ANSWERS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """An answer as it came, its headers in lower case; status 0 where none did."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def exchange(url: str, request: bytes, *, hang_up: bool = False) -> RawAnswer:
    """Send bytes and read until the server closes; with `hang_up`, reset the connection instead of reading."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(request)
        await writer.drain()
        if hang_up:
            writer.transport.abort()
            return RawAnswer(status=0, content_type="", body=b"")
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            head = await reader.readuntil(b"\r\n\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
    finally:
        writer.close()
    return RawAnswer(
        status=int(head.split(b" ", 2)[1]),
        content_type=headers.get(b"content-type", b"").decode(),
        body=body,
        headers={name.decode(): value.decode() for name, value in headers.items()},
    )
