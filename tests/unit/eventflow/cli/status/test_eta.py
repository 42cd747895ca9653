"""The time until the backlog is empty in words."""

import pytest

from eventflow.cli.scrape import parsed
from eventflow.cli.status.eta import BacklogEta, etas_of, in_words


def test_when_the_backlog_is_gone_is_read_from_the_processors_metrics() -> None:
    text = (
        'eventflow_drain_eta_seconds{flow="a"} 840.0\neventflow_drain_eta_seconds{flow="b"} +Inf\n'
        'eventflow_arrival_events_per_second{flow="b"} 12.0\neventflow_departure_events_per_second{flow="b"} 9.96\n'
    )
    etas = etas_of(parsed(text))
    assert {flow: in_words(eta) for flow, eta in etas.items()} == {
        "a": "in 14 min",
        "b": "never at this rate: 12/s in, 10/s out",
    }


@pytest.mark.parametrize(
    ("eta_s", "words"),
    [
        (0.0, "empty"),
        (0.2, "in 1 s"),
        (119, "in 119 s"),
        (120, "in 2 min"),
        (7300, "in 2 h"),
        (200_000, "in 2 days"),
    ],
)
def test_a_time_is_shown_in_its_own_unit(eta_s: float, words: str) -> None:
    assert in_words(BacklogEta(eta_s=eta_s, arrival_per_s=0, departure_per_s=0)) == words
