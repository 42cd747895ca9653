"""The body of an answer from a server that is not trusted."""

import aiohttp


async def whole_body(answer: aiohttp.ClientResponse, *, max_bytes: int) -> bytes | None:
    """Return the body of an answer; None if it is longer, as soon as this is known.

    A single `read` of a number of bytes returns only the part that has arrived.
    """
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > max_bytes:
            return None
    return bytes(body)
