"""All scenarios, and the services that are broken on purpose."""

from dataclasses import replace
from functools import partial

from tests.chaos.faults import (
    answers,
    broker,
    cluster,
    dns,
    door,
    history,
    kills,
    machine,
    messages,
    network,
    outages,
    policies,
    rate,
    repeats,
    target,
    target_wide,
    wire,
)
from tests.chaos.handlers.faults import relays, transactions
from tests.chaos.handlers.scenario import HandlerScenario
from tests.chaos.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *kills.SCENARIOS,
    *wire.SCENARIOS,
    *broker.SCENARIOS,
    *target.SCENARIOS,
    *answers.SCENARIOS,
    *outages.SCENARIOS,
    *target_wide.SCENARIOS,
    *dns.SCENARIOS,
    *door.SCENARIOS,
    *messages.SCENARIOS,
    *machine.SCENARIOS,
    *cluster.SCENARIOS,
    *policies.SCENARIOS,
    *rate.SCENARIOS,
    *network.SCENARIOS,
    *repeats.SCENARIOS,
    *history.SCENARIOS,
)

MUTANTS: tuple[Scenario, ...] = (
    replace(
        kills.PROCESSOR_KILLED,
        name="ack before the target call; processor killed",
        fault=partial(kills.processor_killed_at_a_2xx, times=2),
        modules={"processor": "tests.chaos.mutants.acks_before_attempt"},
        at_least=0,
    ),
    replace(
        kills.BROKER_KILLED_FROZEN,
        name="202 before the confirm; broker frozen and killed",
        fault=partial(kills.broker_killed_frozen, times=1),
        modules={"collector": "tests.chaos.mutants.accepts_before_confirm"},
        at_least=0,
    ),
    replace(
        repeats.EACH_EVENT_TWICE,
        name="a repeat accepted before the confirm of the first event; broker frozen and killed",
        fault=partial(repeats.broker_and_collector_killed, times=1),
        modules={"collector": "tests.chaos.mutants.remembers_before_confirm"},
        at_least=0,
    ),
    replace(
        kills.PROCESSOR_KILLED_BEFORE_CONFIRMS,
        name="ack before the dead letter's publish; processor killed",
        fault=partial(kills.processor_killed_before_confirms, times=1),
        modules={"processor": "tests.chaos.mutants.acks_before_dead_letter"},
        at_least=0,
    ),
)

HANDLER_SCENARIOS: tuple[HandlerScenario, ...] = (*transactions.SCENARIOS, *relays.SCENARIOS)

HANDLER_MUTANTS: tuple[HandlerScenario, ...] = (
    replace(
        transactions.BEFORE_ACKS,
        name="handler without the inbox; killed before acks",
        fault=partial(transactions.killed_before_acks, times=2),
        modules={"processor": "tests.chaos.mutants.ignores_inbox"},
        at_least=0,
    ),
    replace(
        transactions.BETWEEN_WRITE_AND_COMMIT,
        name="handler: ack before COMMIT; killed between write and COMMIT",
        fault=partial(transactions.killed_between_write_and_commit, times=2),
        modules={"processor": "tests.chaos.mutants.acks_before_commit"},
        at_least=0,
    ),
    replace(
        relays.COMMITTED_LATE,
        name="relay with a cursor; rows committed late",
        fault=partial(relays.committed_late, times=1),
        rest_within_s=8.0,
        modules={"relay": "tests.chaos.mutants.reads_behind_a_cursor"},
        at_least=0,
    ),
    replace(
        relays.BEFORE_PUBLISH,
        name="relay: DELETE before the confirm; killed before publishes arrive",
        fault=partial(relays.killed_before_publish, times=2),
        modules={"relay": "tests.chaos.mutants.deletes_before_confirm"},
        at_least=0,
    ),
)
