"""The judgement of an answer."""

from eventflow_processor.target.result import Succeeded, judge


def test_success_is_2xx_and_nothing_else() -> None:
    assert {status for status in range(100, 600) if isinstance(judge(status), Succeeded)} == set(range(200, 300))
