"""Send dead letters again: in the replay lane, where they take at most a fifth of the turns."""

from collections.abc import Sequence
from itertools import islice

from eventflow.amqp.browser import Browsed, Browser
from eventflow.amqp.publisher import Publisher
from eventflow.message import Envelope, encode, restarted
from eventflow.operations.dead.browse import DeadQueue, DeadTally, browse, handle_each
from eventflow.operations.dead.export_file import ExportFile
from eventflow.operations.dead.selection import Selection
from eventflow.operations.session import CONFIRM_TIMEOUT_S, Link, publishing
from eventflow.topology import Lane, ingest_specs, lane_queue

UNCONFIRMED_MAX = 32
"""Events of a file that are sent before their confirms are awaited."""


async def replay(link: Link, queue: DeadQueue, selection: Selection, tally: DeadTally) -> None:
    """Move the selected dead letters to the replay lane. Their attempts are counted from zero again.

    A dead letter is acked only after its copy is confirmed: a crash in between duplicates an event and never loses one.

    Raises:
        EventFlowError: A copy was not confirmed, or the broker failed.
    """
    async with publishing(link, ingest_specs(queue.flow)) as publisher:

        async def move_all(browser: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
            await handle_each(
                letters, tally, lambda letter: _move(browser, publisher, letter, restarted(letter.envelope), queue.flow)
            )

        await browse(link, queue, selection, move_all, tally)


async def replay_file(link: Link, queue: DeadQueue, file: ExportFile, tally: DeadTally) -> None:
    """Send each event of a file to the replay lane, in place of its dead letter if that is still in the queue.

    Each line stands for one dead letter. If the queue has more of an id than the file, the others stay. As in `replay`,
    a dead letter is acked only after its copy is confirmed. The tally counts lines.

    Raises:
        EventFlowError: A copy was not confirmed, or the broker failed.
    """
    lane, tally.seen = lane_queue(queue.flow, Lane.REPLAY), file.lines
    async with publishing(link, ingest_specs(queue.flow)) as publisher:

        async def move_all(browser: Browser, letters: Sequence[Browsed], _: DeadTally) -> None:
            edited = [(letter, envelope) for letter in letters if (envelope := file.take(letter.envelope.event.id))]
            await handle_each(edited, tally, lambda pair: _move(browser, publisher, *pair, queue.flow))

        await browse(link, queue, Selection(ids=file.ids), move_all, DeadTally())
        rest = file.take_rest()
        while envelopes := list(islice(rest, UNCONFIRMED_MAX)):
            await handle_each(envelopes, tally, lambda envelope: _publish(publisher, envelope, lane))


async def _move(browser: Browser, publisher: Publisher, letter: Browsed, envelope: Envelope, flow: str) -> None:
    await _publish(publisher, envelope, lane_queue(flow, Lane.REPLAY))
    await browser.ack(letter)


async def _publish(publisher: Publisher, envelope: Envelope, queue: str) -> None:
    await publisher.publish(encode(envelope), queue=queue).confirmed(timeout_s=CONFIRM_TIMEOUT_S)
