"""The dangerous ones among the policies in effect."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.amqp.presence import Presence
from eventflow.management.policies import PolicyWatch, judge
from eventflow.topology import SHIELDS, flow_of

TEMPLATE = Path(__file__).parents[4] / "deploy" / "rabbitmq" / "definitions.template.json"
KEYS = ["message-ttl", "expires", "max-length", "max-length-bytes", "max-age", "overflow", "delivery-limit", "x"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)


def queue(definition: object, *, policy: object = None, operator: object = None) -> dict[str, Any]:
    return {
        "name": "eventflow.a.dead",
        "policy": policy,
        "operator_policy": operator,
        "effective_policy_definition": definition,
    }


@pytest.mark.parametrize(
    ("definition", "dangers"),
    [
        ({"message-ttl": 0, "expires": 5}, ["expires = 5", "message-ttl = 0"]),
        ({"max-length": 1, "max-age": "1h"}, ["max-age = '1h'", "max-length = 1"]),
        ({"max-length-bytes": 2}, ["max-length-bytes = 2"]),
        ({"overflow": "drop-head", "delivery-limit": 20}, ["delivery-limit = 20", "overflow = 'drop-head'"]),
        ({"overflow": "reject-publish", "delivery-limit": 1_000_000_000, "queue-mode": "lazy"}, []),
        ({"delivery-limit": -1}, ["delivery-limit = -1"]),  # RabbitMQ 3.10 takes it for zero
        ([], []),
    ],
)
def test_what_can_delete_is_dangerous(definition: object, dangers: list[str]) -> None:
    found = judge([queue(definition, policy="x")], ["a"]).dangers
    assert [str(danger) for danger in found] == [f"policy 'x' sets {text} on eventflow.a.dead" for text in dangers]


def test_the_policy_that_sets_it_is_named() -> None:
    def named(policy: str | None, operator: str | None) -> str:
        return judge([queue({"expires": 1}, policy=policy, operator=operator)], ["a"]).dangers[0].policy

    assert named("x", None) == "policy 'x'"
    assert named(None, "op") == "operator policy 'op'"
    assert named("x", "op") == "policy 'x' or operator policy 'op'"
    assert named("eventflow", "op") == "operator policy 'op'"


def test_queues_of_other_flows_and_others_are_left_alone() -> None:
    names = ["eventflow.b.dead", "eventflow", "eventflow.control", "orders", "eventflow..dead"]
    assert judge([{**queue({"expires": 1}), "name": name} for name in names], ["a"]).dangers == ()


@given(st.lists(st.fixed_dictionaries({}, optional={
    "name": st.just("eventflow.a.dead") | ANYTHING,
    "policy": ANYTHING,
    "operator_policy": ANYTHING,
    "effective_policy_definition": ANYTHING,
}), max_size=3))  # fmt: skip
def test_any_answer_can_be_judged(queues: list[dict[str, Any]]) -> None:
    for danger in judge(queues, ["a"]).dangers:
        assert str(danger)


def test_ours_set_nothing_that_deletes_and_are_those_that_compose_loads() -> None:
    assert judge([queue(dict(spec.definition), policy=spec.name) for spec in SHIELDS], ["a"]).dangers == ()
    loaded = json.loads(TEMPLATE.read_text())["policies"]
    assert loaded == [{"vhost": "eventflow", "name": spec.name, **spec.body} for spec in SHIELDS]


def test_without_a_url_readiness_says_so() -> None:
    watch = PolicyWatch(None, flows=["a"], on_look=lambda _: None)
    assert watch.details == {"unseen": "EVENTFLOW_BROKER__MANAGEMENT_URL is not set", "dangerous": []}


def test_a_flow_is_told_from_a_queues_name() -> None:
    assert flow_of("eventflow.a.retry.100") == "a"
    assert [flow_of(name) for name in ("eventflow.a", "other.a.dead", "eventflow.A!.dead", "")] == [None] * 4


def test_a_queue_vanishes_once_and_only_if_it_was_there() -> None:
    vanished: list[str] = []
    presence = Presence(vanished.append)
    presence.missed("eventflow.a.dead", None)
    assert vanished == []
    presence.found("eventflow.a.dead")
    known = presence.known(["eventflow.a.dead", "eventflow.a.due"])
    assert list(known) == ["eventflow.a.dead"]
    presence.missed("eventflow.a.dead", known["eventflow.a.dead"])
    presence.missed("eventflow.a.dead", known["eventflow.a.dead"])
    assert vanished == ["a"]


def test_a_queue_that_is_declared_during_a_check_has_not_vanished() -> None:
    """Found by a test run on a busy machine: at a start, the answer to a check came after the declaration."""
    vanished: list[str] = []
    presence = Presence(vanished.append)
    before = presence.known(["eventflow.a.dead"]).get("eventflow.a.dead")
    presence.found("eventflow.a.dead")
    presence.missed("eventflow.a.dead", before)
    discovery = presence.known(["eventflow.a.dead"])["eventflow.a.dead"]
    presence.missed("eventflow.a.dead", discovery)
    presence.found("eventflow.a.dead")
    presence.missed("eventflow.a.dead", discovery)
    assert vanished == ["a"]
