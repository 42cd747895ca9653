"""Decode the bodies of requests that have content codings, within the limits of the body."""

import asyncio

from eventflow_collector.ingest import Reception
from eventflow_collector.intake import rejection
from eventflow_collector.intake.codings import BrokenCodingError, decoded_pieces


class BodyDecoder:
    """Decodes bodies of all connections, one at a time, and serves other requests between two pieces.

    One at a time, because a stream of brotli may take 16 MiB for itself, which no budget counts.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def decode(self, body: bytes, reception: Reception) -> bytes | None:
        """Return the decoded body, whose memory is reserved; None after a refusal.

        The limit of the body applies to the result of each coding, because work is done for it too.
        """
        async with self._turn:
            for coding in reversed(reception.codings):
                decoded = bytearray()
                try:
                    for piece in decoded_pieces(coding, body):
                        decoded += piece
                        if not reception.reserve(len(piece), total_bytes=len(decoded)):
                            return None
                        await asyncio.sleep(0)
                except BrokenCodingError as error:
                    reception.refuse(rejection.broken_coding(error))
                    return None
                body = bytes(decoded)
        return body
