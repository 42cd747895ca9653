"""One collector that takes the events of every known sender, and of those in `tests/fixtures/senders`."""

import asyncio
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from eventflow.senders.reading import read_senders
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Sender
from eventflow.topology import Lane, lane_queue
from tests.support.senders import VERIFY_TOKEN, has_verify_token, secret_for
from tests.support.services import Service, collector

DESCRIPTIONS = "\n".join(file.read_text() for file in sorted(Path("tests/fixtures/senders").glob("*.toml")))
DESCRIBED: Mapping[str, Sender] = read_senders(tomllib.loads(DESCRIPTIONS)["senders"])
ALL: Mapping[str, Sender] = {**SENDERS, **DESCRIBED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request as a sender makes it."""

    method: str = "POST"
    query: str = ""
    sub_path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """The answer of the collector."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderFlows:
    """A collector with a flow for each sender."""

    service: Service
    broker_url: str
    config: Path
    prefix: str

    def flow(self, sender: str) -> str:
        return f"{self.prefix}-{sender}"

    def queue(self, sender: str) -> str:
        return lane_queue(self.flow(sender), Lane.LIVE)

    async def ask(self, http: aiohttp.ClientSession, sender: str, sent: Sent) -> Got:
        """Make a request to the flow of a sender."""
        url = f"{self.service.url.rpartition('/')[0]}/{self.flow(sender)}{sent.sub_path}"
        async with http.request(
            sent.method,
            URL(url + (f"?{sent.query}" if sent.query else ""), encoded=True),
            data=sent.body or None,
            headers={"Content-Type": "application/json", **sent.headers},
        ) as answer:
            return Got(status=answer.status, headers=CIMultiDict(answer.headers), body=await answer.read())


def public_url(flow: str) -> str:
    """Return the address of a flow as its sender has it."""
    return f"https://hooks.example.com/events/{flow}"


@contextmanager
def sender_flows(
    broker_url: str, directory: Path, *, prefix: str, max_body_bytes: int = 100_000
) -> Iterator[SenderFlows]:
    """Run the collector."""
    config = directory / "eventflow.toml"
    config.write_text(
        "\n".join([DESCRIPTIONS, *(_flow(f"{prefix}-{name}", ALL[name], max_body_bytes) for name in ALL)])
    )
    service = collector(broker_url, flow=f"{prefix}-keys", CONFIG=str(config))

    async def ready() -> None:
        async with aiohttp.ClientSession() as client:
            await service.ready(client)

    with service.process:
        asyncio.run(ready())
        yield SenderFlows(service=service, broker_url=broker_url, config=config, prefix=prefix)
    assert service.tracebacks == []


def _flow(flow: str, sender: Sender, max_body_bytes: int) -> str:
    lines = [
        f"[flows.{flow}.source]",
        f'verify = "{sender.name}"',
        f'secrets = ["{secret_for(sender.name)}"]',
        f'public_url = "{public_url(flow)}"',
        f"max_body_bytes = {max_body_bytes}",
        "allow_sub_paths = true",
    ]
    if has_verify_token(sender):
        lines.append(f'verify_tokens = ["{VERIFY_TOKEN}"]')
    return "\n".join(lines)
