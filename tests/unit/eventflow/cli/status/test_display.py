"""The status as a document and as a table."""

import math

from eventflow.cli.status.display import document_of, waiting
from eventflow.cli.status.eta import BacklogEta
from eventflow.cli.status.flow import FlowStatus, RetryStatus
from eventflow.topology import Lane


def test_the_status_document_says_null_for_what_does_not_exist() -> None:
    retries = (RetryStatus(delay_s=0.5, events=3, configured=True), RetryStatus(delay_s=9, events=0, configured=False))
    lanes = {Lane.LIVE: 1, Lane.DUE: 2, Lane.REPLAY: None}
    eta = BacklogEta(eta_s=math.inf, arrival_per_s=12.0, departure_per_s=10.0)
    status = FlowStatus(flow="blue", lanes=lanes, retries=retries, dead=4, processors=None, eta=eta)
    assert waiting(retries) == "3 in 0.5 s, 0 in 9 s (old)"
    assert document_of([status], None, at="now") == {
        "at": "now",
        "spool": None,
        "troubles": [],
        "flows": {
            "blue": {
                "backlog": {"live": 1, "due": 2, "replay": None},
                "retries": [
                    {"delay_s": 0.5, "events": 3, "configured": True},
                    {"delay_s": 9, "events": 0, "configured": False},
                ],
                "dead": 4,
                "processors": None,
                "drain": {"eta_s": None, "arrival_per_s": 12.0, "departure_per_s": 10.0},
            }
        },
    }
