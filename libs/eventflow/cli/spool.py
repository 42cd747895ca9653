"""`eventflow spool`: sends the events of a spool directory that a collector has left."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from eventflow.cli.actions import record
from eventflow.cli.assembly import command, new_group
from eventflow.cli.connection import with_link
from eventflow.cli.console import out, print_json, printable
from eventflow.cli.options import ConfigOption, DryRunOption, JsonOption, settings_of, usage_of
from eventflow.cli.progress import shown_progress
from eventflow.operations.left_spool import LeftSpool, SpoolTally, files_in, opened, send
from eventflow.topology import flow_of

app = new_group("Handle a spool directory that no collector uses any more.")


@command(app, "send")
def send_spool(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The spool directory of a collector.")],
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send the events of a spool directory that no collector uses any more.

    Run it on any host that reaches RabbitMQ, such as with the volume of a collector that was scaled down.

    Each event is deleted from its file only after RabbitMQ has confirmed it. If the command fails, up to 256 events may
    be sent twice, and none is lost. Run it again to continue.

    Events that cannot be read, or that RabbitMQ refuses, stay in the directory. The exit status is 0 only if none is
    left. A directory that a running collector uses is refused: this collector sends the events itself.
    """
    settings, tally = settings_of(context, config), SpoolTally()
    with usage_of("DIR"):
        files = files_in(directory)
    with opened(files) as spool:
        waiting = spool.count_by_queue()
        try:
            if waiting and not dry_run:
                with shown_progress(printable(str(directory)), tally):
                    with_link(settings, lambda link: send(link, spool, tally))
        finally:  # also after a failure half-way
            handled = waiting if dry_run else tally.sent
            left = (waiting - handled).total() + sum(len(file.unreadable) for file in spool.files)
            done = "would send" if dry_run else "sent"
            if as_json:
                print_json(_document_of(spool, tally, directory=directory, done=done, handled=handled, left=left))
            else:
                _print(spool, tally, directory=directory, done=done, handled=handled, unsent=waiting - handled)
            for flow, events in _by_flow(tally.sent).items():
                record(settings, "spool-send", flow=flow, detail=f"{events} events of {directory}")
    if left or spool.damaged or spool.set_aside:
        raise typer.Exit(1)


def _by_flow(queues: Counter[str]) -> Counter[str]:
    """Count by flow, or by the name of a queue that belongs to none."""
    flows: Counter[str] = Counter()
    for queue, events in queues.items():
        flows[flow_of(queue) or queue] += events
    return flows


def _document_of(
    spool: LeftSpool, tally: SpoolTally, *, directory: Path, done: str, handled: Counter[str], left: int
) -> dict[str, Any]:
    return {
        "directory": str(directory),
        done.replace(" ", "_"): handled.total(),
        "flows": _by_flow(handled),
        "left": left,
        "refused": tally.refused,
        "unreadable": [{"file": file.name, "seq": seq} for file in spool.files for seq in file.unreadable],
        "damaged": spool.damaged,
        "set_aside": spool.set_aside,
    }


def _print(
    spool: LeftSpool, tally: SpoolTally, *, directory: Path, done: str, handled: Counter[str], unsent: Counter[str]
) -> None:
    flows = ", ".join(f"{events} of flow {flow}" for flow, events in _by_flow(handled).items())
    out.print(printable(f"{done} {handled.total()} events of {directory}{flows and ': '}{flows}"), soft_wrap=True)
    for reason, events in tally.refused.items():
        _print_left(f"refused by RabbitMQ: {events} ({reason})")
    if pending := unsent.total() - tally.refused.total():
        _print_left(f"not sent yet: {pending}")
    for file in spool.files:
        if file.unreadable:
            rows = ", ".join(map(str, file.unreadable))
            _print_left(f"unreadable in {file.name}: {len(file.unreadable)} (rows {rows})")
    for name, reason in spool.damaged.items():
        _print_left(f"{name} is damaged ({reason}); start a collector with this directory to send its readable events")
    for name in spool.set_aside:
        _print_left(f"{name} was set aside by a collector, which has sent its readable events")


def _print_left(text: str) -> None:
    out.print(printable(f"left: {text}"), soft_wrap=True)
