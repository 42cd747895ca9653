"""The ceiling of delivery: aiohttp's client posts one body repeatedly, 64 at a time, and does nothing else."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.peers.settings import CONCURRENCY, TARGET_URL


async def post(client: aiohttp.ClientSession, body: bytes) -> None:
    """Post one request after the other."""
    headers = {"Content-Type": "application/json"}
    while True:
        async with client.post(TARGET_URL, data=body, headers=headers) as answer:
            answer.raise_for_status()


async def main(body: bytes) -> None:
    """Keep `CONCURRENCY` requests in flight."""
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as client, asyncio.TaskGroup() as posting:
        for _ in range(CONCURRENCY):
            posting.create_task(post(client, body))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]).read_bytes()))
