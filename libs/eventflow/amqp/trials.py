"""Trials: a flow that may have lost its majority makes the requests of a start on a connection that nothing else uses.

RabbitMQ closes the whole connection of a request that no majority answers. The others of a shared connection must not
pay for it (ADR 42).
"""

import asyncio
from collections.abc import Sequence

from eventflow.amqp.session import EndingLog, Session, run_once

TRIALS_MAX = 4
"""First trials at a time, and also repeated ones: a flow that only seems to have lost its majority does not wait for
those that have. So with 8 shared connections, a processor has at most 64 more."""

TRIAL_PAUSE_S = 5.0
"""Pause after a repeated trial that has failed. Meanwhile no other one takes its place, so there are few of them, even
if the broker refuses each at once."""


class Trials:
    """The trials of the flows on a shared connection."""

    def __init__(self, urls: Sequence[str], *, advice: str) -> None:
        """Prepare.

        Args:
            urls: URLs of the brokers, the preferred one first.
            advice: The command that grants all rights, which is logged if one is missing.
        """
        self._urls = urls
        self._advice = advice
        self._first = asyncio.Semaphore(TRIALS_MAX)
        self._repeated = asyncio.Semaphore(TRIALS_MAX)

    async def until_answered(self, trial: Session, endings: EndingLog, *, name: str) -> None:
        """Make trials until one returns, at those of the brokers in turn that accept a connection.

        Raises:
            TopologyMismatchError: Raised by a trial. Another one could not help.
        """
        turns, pause_s, urls = self._first, 0.0, [*self._urls]
        while True:
            async with turns:
                ending = await run_once(urls, name=name, session=trial)
                if ending is None:
                    return
                endings.note(ending, advice=self._advice)
                await asyncio.sleep(pause_s)
            turns, pause_s = self._repeated, TRIAL_PAUSE_S
