"""`eventflow why`: what is known of one event, from the processors and from the dead queue.

The events, due and retry queues are never read: whoever reads one counts as a processor meanwhile.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from eventflow.amqp.queues import depth_of
from eventflow.cli.console import out, printable
from eventflow.cli.dead.browse import DeadQueue, first
from eventflow.cli.dead.dead_letters import Selection, record_of
from eventflow.cli.options import ConfigOption, one_flow_of, settings_of
from eventflow.cli.session import connected, instance, publishing
from eventflow.control.bus import Announcement, ControlBus
from eventflow.tasks import cancel_and_wait
from eventflow.topology import CONTROL_EXCHANGE, Lane, lane_queue

ASK_EVERY_S = 0.25
ANSWERS_MAX_S = 3.0
LETTERS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of an event.

    Attributes:
        answers: What each processor that answered says, by its name; nothing for one that does not know the event.
        processors: How many there are; some may be too busy or too old to answer.
        letter: The event as `dead export` writes it, where it is among the dead letters that were looked at.
        letters: How many were.
    """

    event_id: str
    flow: str
    answers: Mapping[str, Mapping[str, Any]]
    processors: int
    letter: Mapping[str, Any] | None
    letters: int

    @property
    def is_known(self) -> bool:
        """Whether anybody knows it."""
        return self.letter is not None or any(self.answers.values())


def why(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The event's id.")],  # noqa: A002 - the argument's name
    flow: Annotated[
        str | None,
        typer.Option("--flow", metavar="NAME", help="The flow; by default the only one, else `default`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    config: ConfigOption = None,
) -> None:
    """Say what is known of one event; exit status 1 if nothing is.

    Processors know what they hold, what is in flight, and what became of their latest 10000 attempts. The first 10000
    dead letters are looked at and left whole. Queues of waiting events are not read, so an event that waits behind the
    backlog is known to nobody.
    """
    settings = settings_of(context, config)
    place = DeadQueue(settings=settings, flow=one_flow_of(settings, flow))
    findings = asyncio.run(_find(place, id))
    if as_json:
        out.print(json.dumps(document_of(findings), indent=2), soft_wrap=True)
    else:
        for line in lines_of(findings):
            out.print(printable(line), soft_wrap=True)
    if not findings.is_known:
        sys.exit(1)


async def _find(place: DeadQueue, event_id: str) -> Findings:
    async with connected(place.settings.broker.urls) as link:
        depth = await depth_of(link.connection, lane_queue(place.flow, Lane.LIVE))
    processors = depth.consumers if depth else 0
    answers = await _ask(place, event_id, processors) if processors else {}
    letters, looked_at = await first(place, Selection(id=event_id), 1, at_most=LETTERS_MAX)
    return Findings(
        event_id=event_id,
        flow=place.flow,
        answers=answers,
        processors=processors,
        letter=record_of(letters[0]) if letters else None,
        letters=looked_at,
    )


async def _ask(place: DeadQueue, event_id: str, processors: int) -> dict[str, dict[str, Any]]:
    """Ask the flow's processors until all have answered, or the time is up."""
    answers: dict[str, dict[str, Any]] = {}
    complete = asyncio.Event()

    def hear(announcement: Announcement) -> None:
        match announcement:
            case {"kind": "known", "id": str() as answered, "from": str() as processor} if answered == event_id:
                answers[processor] = {k: v for k, v in announcement.items() if k not in {"kind", "id", "flow", "from"}}
                if len(answers) >= processors:
                    complete.set()

    urls = place.settings.broker.urls
    async with publishing(urls, (), fanouts=(CONTROL_EXCHANGE,)) as publisher:
        control = ControlBus(urls, instance=instance(), publisher=publisher)
        control.on_peer_message(place.flow, hear)
        listening = asyncio.create_task(control.run())
        try:
            for _ in range(round(ANSWERS_MAX_S / ASK_EVERY_S)):  # again: nobody tells when our own ear is there
                control.broadcast(place.flow, {"kind": "why", "id": event_id})
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_EVERY_S):
                        await complete.wait()
                        break
        finally:
            await cancel_and_wait(listening)
    return answers


def document_of(findings: Findings) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "id": findings.event_id,
        "flow": findings.flow,
        "processors": {"all": findings.processors, "answers": dict(findings.answers)},
        "dead": {"looked_at": findings.letters, "letter": findings.letter},
    }


def lines_of(findings: Findings) -> list[str]:
    """Say what is known, in words."""
    lines = [
        f"{processor}: {sentence}"
        for processor, answer in sorted(findings.answers.items())
        for sentence in sentences_of(answer)
    ]
    silent = findings.processors - len(findings.answers)
    if silent > 0:
        lines.append(f"{silent} of {findings.processors} processors did not answer")
    letter = findings.letter
    if letter is not None:
        lines.append(
            f"dead since {letter['last_failed_at']}, after {letter['attempts']} attempts: {letter['reason']}"
            f"{_status(letter.get('last_status'))}; eventflow dead show tells more"
        )
    if not findings.is_known:
        lines.append(
            f"nothing is known of it in flow {findings.flow}: no processor has it or remembers it, and it is none of "
            f"the {findings.letters} dead letters that were looked at. It may wait in a queue, or never have come."
        )
    return lines


def sentences_of(answer: Mapping[str, Any]) -> list[str]:
    """Say what one processor knows, the present first; whoever publishes to the exchange can have written it."""
    here = f"attempt {answer.get('attempt')}, lane {answer.get('lane')}, here for {_seconds(answer.get('here_s'))}"
    now = {
        "in_flight": f"in flight now: {here}",
        "held": f"held in memory, since the target asked to wait: {here}",
        "waiting": f"waits for its turn: {here}",
    }.get(str(answer.get("state")))
    last = answer.get("last")
    return ([now] if now else []) + ([_past(last)] if isinstance(last, Mapping) and last else [])


def _past(last: Mapping[str, Any]) -> str:
    failure = f"{last.get('detail') or last.get('reason')}{_status(last.get('status'))}"
    became = {
        "delivered": "was delivered",
        "retry": f"failed ({failure}) and waits for {_seconds(last.get('delay_s'))} from then on",
        "defer": f"did not count and waits for {_seconds(last.get('delay_s'))} from then on",
        "hold": "did not count, since the target asked to wait",
        "dead": f"failed ({failure}) and was the last",
    }.get(str(last.get("outcome")), "ended")
    return f"attempt {last.get('attempt')}, {_seconds(last.get('ago_s'))} ago, {became}"


def _seconds(value: object) -> str:
    return f"{value:.3g} s" if isinstance(value, int | float) else "? s"


def _status(status: object) -> str:
    return f", HTTP {status}" if status is not None else ""
