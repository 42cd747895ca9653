"""The group `eventflow history`."""

from eventflow.cli.assembly import command, new_group
from eventflow.cli.history import reading, upkeep

app = new_group(
    "Read and maintain the history: every attempt on record, with the target's answers. "
    "EVENTFLOW_HISTORY__URL names its store. No event waits for the history or depends on it."
)
command(app, "list")(reading.list_attempts)
command(app, "show")(reading.show_event)
command(app, "export")(reading.export_attempts)
command(app, "actions")(reading.list_actions)
command(app, "check")(upkeep.check)
command(app, "migrate")(upkeep.migrate)
command(app, "prune")(upkeep.prune)
command(app, "forget")(upkeep.forget)
