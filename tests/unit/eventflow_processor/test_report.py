"""Reports to `eventflow status`: they must not disturb the processor."""

from typing import NoReturn

from eventflow.control.messages import AskStatus, Broadcast, ControlMessage
from eventflow_processor.observe.metrics import ProcessorMetrics
from eventflow_processor.report import FlowReporter


def test_an_error_in_a_report_is_counted_and_does_not_reach_the_control_connection() -> None:
    def fail() -> NoReturn:
        raise RuntimeError("a bug")

    metrics, sent = ProcessorMetrics(), list[ControlMessage]()
    reporter = FlowReporter(None, metrics=metrics, obstacles=fail, broadcast=sent.append)  # type: ignore[arg-type]
    reporter.on_peer_message(Broadcast(flow="f", sender="s", message=AskStatus()))
    assert not sent
    assert metrics.registry.get_sample_value("eventflow_internal_errors_total", {"service": "processor"}) == 1
