"""The start of a publish of one row."""

from typing import Any

from prometheus_client import Counter

from eventflow.telemetry.harmless import InternalErrors
from eventflow_relay.judgement import InternalRowError
from eventflow_relay.sending import Sender


def test_an_unexpected_error_concerns_its_row_alone() -> None:
    errors = Counter("errors", "Errors.", registry=None)
    unused: Any = None
    sender = Sender(unused, flows=["orders"], tracer=unused, internal_errors=InternalErrors(errors))
    row_without_columns = {"number": 7, "flow": "orders"}
    assert isinstance(sender.send(row_without_columns).error, InternalRowError)
    assert next(iter(errors.collect())).samples[0].value == 1
