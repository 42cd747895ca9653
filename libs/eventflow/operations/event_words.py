"""The answer of a processor about an event, in sentences."""

from dataclasses import asdict

from eventflow.control.messages import InHand, Known, LastAttempt
from eventflow.operations.causes import cause_in_words


def sentences_of(known: Known) -> list[str]:
    """Describe the answer of one processor in sentences, the present first."""
    return ([_present(known.in_hand)] if known.in_hand else []) + ([_past(known.last)] if known.last else [])


def _present(delivery: InHand) -> str:
    present = {
        "in_flight": "in flight now",
        "held": "held in memory, because the target asked to wait",
        "waiting": "waits for its turn",
    }.get(delivery.state, delivery.state)  # a later version may have more states
    return f"{present}: attempt {delivery.attempt}, lane {delivery.lane}, here for {_seconds(delivery.here_s)}"


def _past(last: LastAttempt) -> str:
    became = {
        "delivered": "was delivered",
        "retry": f"failed and waits for {_seconds(last.delay_s)} from then on",
        "defer": f"did not count and waits for {_seconds(last.delay_s)} from then on",
        "hold": "did not count, because the target asked to wait",
        "dead": "failed and was the last attempt",
    }.get(last.outcome, "ended")  # a later version may have more outcomes
    cause = "" if last.failure is None else f": {cause_in_words(**asdict(last.failure))}"
    return f"attempt {last.attempt}, {_seconds(last.ago_s)} ago, {became}{cause}"


def _seconds(value: float | None) -> str:
    return "? s" if value is None else f"{value:.3g} s"
