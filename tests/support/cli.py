"""The operator's command as a real process, with settings from the environment alone."""

import asyncio
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika

from eventflow.amqp.browser import Browsed
from eventflow.event import Event
from eventflow.message import Envelope, Failure, encode
from eventflow.topology import dead_queue
from sandbox.processes import scrubbed_environment
from tests.support import preloaded
from tests.support.amqp import Amqp

MODULE = "eventflow.cli"
FIRST_FAILED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a command."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`eventflow` for one flow."""

    broker_url: str
    flow: str

    async def start(
        self, *arguments: str, stdout: int = asyncio.subprocess.PIPE, **settings: str
    ) -> asyncio.subprocess.Process:
        """Start it as an interpreter of its own; `settings` as for a call."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            *arguments,
            env=self._environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *arguments: str, **settings: str) -> Ended:
        """Run it to its end; a traceback fails the test.

        Args:
            arguments: Those of the command.
            settings: Variables without their prefix; `SOURCE__` and `TARGET__` ones are the flow's.
        """
        command = [MODULE, *arguments]
        status, stdout, stderr = await asyncio.to_thread(preloaded.run, command, env=self._environment(settings))
        assert "Traceback" not in stderr, stderr
        return Ended(status=status, stdout=stdout, stderr=stderr)

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        of_flow = f"FLOWS__{self.flow.upper()}__"
        configured = {"BROKER__URL": self.broker_url, "TARGET__RETRY_DELAYS_S": "0.2,0.5", **settings}
        return scrubbed_environment() | {
            f"EVENTFLOW_{of_flow if name.startswith(('SOURCE__', 'TARGET__')) else ''}{name}": value
            for name, value in configured.items()
        }


def browsed(envelope: Envelope, headers: Mapping[str, Any] | None = None) -> Browsed:
    """Return a dead letter as a browser reads it."""
    return Browsed(envelope=envelope, headers=headers or {}, redelivered=False, tag=1)


def dead_letter(
    event_id: str,
    *,
    reason: str = "server_error",
    body: bytes = b'{"n": 1}',
    content_type: str = "application/json",
    event_type: str = "test.event",
    last_failed_at: datetime = FIRST_FAILED_AT + timedelta(hours=1),
) -> Envelope:
    """Make an event that was given up after twelve attempts."""
    return Envelope(
        event=Event(
            id=event_id,
            source="test",
            type=event_type,
            time=FIRST_FAILED_AT,
            accepted_at=FIRST_FAILED_AT,
            body=body,
            content_type=content_type,
        ),
        attempt=12,
        failure=Failure(reason=reason, status=503, first_at=FIRST_FAILED_AT, last_at=last_failed_at),
    )


async def bury(amqp: Amqp, flow: str, letters: Iterable[Envelope]) -> None:
    """Put dead letters into a flow's dead queue, in order."""
    messages = [encode(letter) for letter in letters]
    await amqp.publish(
        dead_queue(flow),
        *(
            aio_pika.Message(
                message.body,
                headers=dict(message.headers),
                content_type=message.content_type,
                message_id=message.message_id,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            for message in messages
        ),
    )


async def ids_in(amqp: Amqp, queue: str) -> list[str]:
    """Take everything out of a queue and return the events' ids, in order."""
    return [str(message.headers["cloudEvents:id"]) for message in await amqp.drain(queue)]
