"""The parts of an installation on paper: their number for any number of flows, processors and collectors. Pure."""

from dataclasses import dataclass

from benchmarks.scale.figures import Size
from eventflow.settings.target import TargetSettings
from eventflow.topology import flow_specs, overrides_spec

CONNECTIONS_OF_A_COLLECTOR = 2
CHANNELS_OF_A_FLOW = 2
"""In each processor: one to consume, one to measure."""

CONSUMERS_OF_A_FLOW = 4
"""In each processor: three lanes, and the stream of overrides."""

REST_CHECKS_PER_S = 10
REST_LOOKS_PER_S = 10 / 5
"""Checks of the live queue, and flows whose other queues are measured, of all flows without events together."""

PROOF_REQUESTS_PER_S = 2 / 5
"""Two requests of each connection to consume, every 5 s."""

CONSOLE_LOOK_S = 15.0
"""A console that is not in use asks all services about each flow this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One kind of parts.

    Attributes:
        grows_with: The numbers that multiply it.
        before: Its number in version 0.2.0.
        now: Its number now.
    """

    name: str
    grows_with: str
    before: float
    now: float


def queues_of_a_flow(size: Size) -> int:
    """Return the number of queues of a flow, its stream included."""
    delays_s = TargetSettings().retry_delays_s[: size.retry_delays]
    return len((*flow_specs("f", delays_s), overrides_spec("f")))


def counts(size: Size) -> list[Count]:
    """Return the number of all parts, and the messages without any event."""
    flows, processors, collectors = size.flows, size.processors, size.collectors
    services = processors + collectors
    queues = queues_of_a_flow(size)
    unconsumed = size.retry_delays + 1
    consuming = min(flows, 8)
    return [
        Count(
            name="queues",
            grows_with="flows",
            before=queues * flows + services,
            now=queues * flows + services,
        ),
        Count(
            name="connections",
            grows_with="processors; before: flows x processors",
            before=(2 * flows + 2) * processors + CONNECTIONS_OF_A_COLLECTOR * collectors,
            now=(consuming + 3) * processors + CONNECTIONS_OF_A_COLLECTOR * collectors,
        ),
        Count(
            name="consumers",
            grows_with="flows x processors",
            before=CONSUMERS_OF_A_FLOW * flows * processors + services,
            now=CONSUMERS_OF_A_FLOW * flows * processors + services,
        ),
        Count(
            name="channels",
            grows_with="flows x processors",
            before=(CHANNELS_OF_A_FLOW + 1) * flows * processors + 5 * services,
            now=CHANNELS_OF_A_FLOW * flows * processors + (consuming + 5) * processors + 5 * collectors,
        ),
        Count(
            name="requests/s without events",
            grows_with="processors; before: flows x processors",
            before=(5 + 3 * unconsumed / 5) * flows * processors + processors,
            now=min(flows / 2, REST_CHECKS_PER_S) * processors
            + unconsumed * min(flows / 5, REST_LOOKS_PER_S) * processors
            + (1 + PROOF_REQUESTS_PER_S * consuming) * processors,
        ),
        Count(
            name="entries/s in the logs of quorum queues",
            grows_with="processors; before: flows x processors",
            before=2 * flows * processors,
            now=PROOF_REQUESTS_PER_S * consuming * processors,
        ),
        Count(
            name="control messages/s between services without events",
            grows_with="-",
            before=0,
            now=0,
        ),
        Count(
            name="control messages/s that arrive, if the targets of all flows ask for a pause",
            grows_with="flows x processors²",
            before=flows * processors * services,
            now=flows * processors * services,
        ),
        Count(
            name="control messages that arrive, for one look of a console",
            grows_with="flows x services²",
            before=flows * services * (services + 1),
            now=flows * services * (services + 1),
        ),
    ]
