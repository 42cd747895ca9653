"""The state of the spool in words."""

from dataclasses import replace

from eventflow.cli.scrape import parsed
from eventflow.cli.status.spool import SpoolStatus, in_words, spool_of


def test_the_spool_is_read_from_the_collectors_metrics() -> None:
    text = "eventflow_spool_events 12.0\neventflow_spool_bytes 3400.0\neventflow_spool_oldest_seconds 7.4\nother 1.0\n"
    spool = spool_of(parsed(text))
    assert spool == SpoolStatus(events=12, set_aside=0, size_bytes=3400, oldest_s=7.4)
    assert in_words(spool) == "In the spool: 12 events, 3.4 kB, the oldest for 7 s."
    assert spool_of([]).events == 0
    aside = "Set aside in the spool: 2 events that are larger than RabbitMQ accepts."
    assert in_words(replace(spool, set_aside=2)) == f"{in_words(spool)} {aside}"
    assert in_words(replace(spool, events=0, set_aside=2)) == aside
    failing = spool_of(parsed(text + "eventflow_spool_failing 1.0\n"))
    assert (
        in_words(failing)
        == f"The disk of the spool fails or does not answer, so no event can be spooled. {in_words(spool)}"
    )
