"""The state of the spool in words."""

from dataclasses import replace

from eventflow.control.reports import CollectorReport, SpoolReport
from eventflow.operations.scrape import parsed
from eventflow.operations.status.spool import SpoolStatus, in_words, spool_in, spool_of


def test_the_spool_is_read_from_the_collectors_metrics() -> None:
    text = (
        "eventflow_spool_max_bytes 1e9\neventflow_spool_events 12.0\neventflow_spool_bytes 3400.0\n"
        "eventflow_spool_oldest_seconds 7.4\nother 1.0\n"
    )
    spool = spool_of(parsed(text))
    assert spool is not None
    assert spool == SpoolStatus(events=12, set_aside=0, size_bytes=3400, oldest_s=7.4)
    assert in_words(spool) == "In the spool: 12 events, 3.4 kB, the oldest for 7 s."
    assert in_words(replace(spool, size_bytes=0)) == "In the spool: 12 events, the oldest for 7 s."
    assert spool_of(parsed("eventflow_spool_max_bytes 0.0\neventflow_spool_events 0.0\n")) is None
    aside = "Set aside in the spool: 2 events that are larger than RabbitMQ accepts."
    assert in_words(replace(spool, set_aside=2)) == f"{in_words(spool)} {aside}"
    assert in_words(replace(spool, events=0, set_aside=2)) == aside
    failing = spool_of(parsed(text + "eventflow_spool_failing 1.0\n"))
    assert failing is not None
    assert (
        in_words(failing)
        == f"The disk of the spool fails or does not answer, so no event can be spooled. {in_words(spool)}"
    )


def test_the_spools_of_all_collectors_are_shown_together() -> None:
    one = SpoolReport(state="spooling", events=5, set_aside=1, size_bytes=100, oldest_s=7.0, failing=False)
    other = replace(one, events=2, oldest_s=9.0, failing=True)
    reports = [CollectorReport(spool=one), CollectorReport(spool=other), CollectorReport()]
    assert spool_in(reports) == SpoolStatus(events=7, set_aside=2, size_bytes=200, oldest_s=9.0, failing=True)
    assert spool_in([CollectorReport()]) is None
