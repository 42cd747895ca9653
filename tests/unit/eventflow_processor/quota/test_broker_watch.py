"""Answers of the management API about a queue, while a broker is lost and otherwise."""

from collections.abc import Mapping
from typing import Any

import pytest

from eventflow_processor.quota.broker_watch import are_all_online, statistics_of
from eventflow_processor.quota.lost import Statistics

QUEUE: Mapping[str, Any] = {
    "members": ["rabbit@a", "rabbit@b", "rabbit@c"],
    "online": ["rabbit@b", "rabbit@c"],
    "leader": "rabbit@b",
    "consumers": 2,
    "memory": 1234,
    "garbage_collection": {"minor_gcs": 7},
    "message_bytes": 0,
    "message_bytes_ready": 0,
}
NEEDED = ("members", "online", "leader", "consumers", "memory")


def test_statistics_while_a_broker_is_lost_name_it() -> None:
    found = statistics_of(QUEUE)
    assert found == Statistics(consumers=2, mark=found.mark if found else "", lost=frozenset({"rabbit@a"}))


@pytest.mark.parametrize(
    "change",
    [{"memory": 1235}, {"garbage_collection": {"minor_gcs": 8}}, {"message_bytes": 1}, {"message_bytes_ready": 1}],
)
def test_statistics_are_new_if_the_queue_has_worked(change: Mapping[str, Any]) -> None:
    before, after = statistics_of(QUEUE), statistics_of({**QUEUE, **change})
    assert before is not None
    assert after is not None
    assert before.mark != after.mark
    assert before == statistics_of(QUEUE)


@pytest.mark.parametrize(
    "change",
    [
        {"online": QUEUE["members"]},
        {"online": ["rabbit@b"]},
        {"online": []},
        {"leader": "rabbit@a"},
        {"leader": None},
        {"consumers": None},
        {"consumers": "2"},
        {"memory": None},
        {"members": None},
        {"members": [], "online": []},
        {"online": {}},
    ],
)
def test_no_lost_broker_no_majority_no_leader_or_another_form_are_no_statistics(change: Mapping[str, Any]) -> None:
    assert statistics_of({**QUEUE, **change}) is None


@pytest.mark.parametrize("column", NEEDED)
def test_nor_is_an_answer_that_lacks_a_column(column: str) -> None:
    assert statistics_of({name: value for name, value in QUEUE.items() if name != column}) is None


def test_a_broker_is_lost_only_if_an_answer_says_so() -> None:
    assert not are_all_online(QUEUE)
    assert are_all_online({**QUEUE, "online": QUEUE["members"]})
    assert are_all_online({**QUEUE, "online": None})
    assert are_all_online({})
