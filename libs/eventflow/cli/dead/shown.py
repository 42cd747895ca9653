"""One dead letter as the command shows it."""

from eventflow.amqp.browser import Browsed
from eventflow.network.failure import explained
from eventflow.operations.dead.letters import BROKER, death_of, record_of


def facts_of(letter: Browsed) -> list[tuple[str, str]]:
    """Return names and values that `dead show` prints before the headers and the body; unknown values are left out."""
    record = record_of(letter)
    names = ("id", "source", "type", "time", "reason", "detail", "last_status", "text", "attempts")
    times = ("first_failed_at", "last_failed_at", "content_type", "content_encoding")
    known = [(name.replace("_", " "), str(record[name])) for name in (*names, *times) if record.get(name) is not None]
    known = [(name, explained(value) if name == "detail" else value) for name, value in known]
    death = death_of(letter)
    if death is not None:
        known.append(
            ("given up by", f"{BROKER} in {death.queue}; run eventflow check to find the policy that causes this")
        )
    return [*known, ("body", f"{len(letter.envelope.event.body)} bytes")]
