"""Queues as data: the arguments that each needs so that no event is lost."""

from eventflow.topology import RETRY_QUEUE, flow_specs

SPECS = {spec.name: spec.arguments for spec in flow_specs("orders", (1, 0.5, 3600))}


def test_names_are_the_contracts() -> None:
    assert set(SPECS) == {
        "eventflow.orders.events",
        "eventflow.orders.due",
        "eventflow.orders.replay",
        "eventflow.orders.dead",
        "eventflow.orders.lease",
        "eventflow.orders.retry.1000",
        "eventflow.orders.retry.500",
        "eventflow.orders.retry.3600000",
    }


def test_every_queue_is_a_quorum_queue_without_an_effective_delivery_limit() -> None:
    for arguments in SPECS.values():
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-delivery-limit"] == 1_000_000_000


def test_whatever_dead_letters_does_so_at_least_once_and_to_a_queue_declared_before() -> None:
    names = list(SPECS)
    for name, arguments in SPECS.items():
        if "x-dead-letter-routing-key" in arguments:
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            assert names.index(str(arguments["x-dead-letter-routing-key"])) < names.index(name)


def test_only_retry_queues_expire_and_they_expire_into_due() -> None:
    for name, arguments in SPECS.items():
        match = RETRY_QUEUE.fullmatch(name)
        assert ("x-message-ttl" in arguments) == bool(match)
        if match:
            assert arguments["x-message-ttl"] == int(match[2])
            assert arguments["x-dead-letter-routing-key"] == "eventflow.orders.due"


def test_the_dead_queue_keeps_everything() -> None:
    assert set(SPECS["eventflow.orders.dead"]) == {"x-queue-type", "x-delivery-limit"}
