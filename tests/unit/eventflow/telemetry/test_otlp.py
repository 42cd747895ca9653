"""Which traces are recorded, and under which ids."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext

import pytest

from eventflow.telemetry.otlp import OtlpTracer
from eventflow.telemetry.tracing import Span
from tests.support.otlp import OtlpReceiver
from tests.support.wait import eventually

Start = Callable[[str | None], Span]
MALFORMED = "00-nonsense"
SENDERS_TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SENDERS = f"00-{SENDERS_TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
async def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    sampler, ratio = request.param
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    tracer = OtlpTracer("test")
    yield lambda parent: tracer.start("it", kind="server", parent=parent)
    await tracer.close()  # a span that was not ended is not exported, so no endpoint is needed


def trace_id_of(span: Span) -> str:
    return (span.traceparent or "").split("-")[1]


@pytest.mark.parametrize(
    ("start", "least", "most"),
    [
        (("parentbased_traceidratio", "0.5"), 400, 600),
        (("traceidratio", "0.5"), 400, 600),
        (("parentbased_traceidratio", "0"), 0, 0),
        (("parentbased_always_on", ""), 1000, 1000),
        (("always_off", ""), 0, 0),
    ],
    indirect=["start"],
)
@pytest.mark.parametrize("parent", [None, MALFORMED])
def test_as_many_are_recorded_as_the_sampler_says_each_under_an_id_of_its_own(
    start: Start, parent: str | None, least: int, most: int
) -> None:
    spans = [start(parent) for _ in range(1000)]
    assert least <= sum(span.trace_id is not None for span in spans) <= most
    assert len({trace_id_of(span) for span in spans}) == 1000


@pytest.mark.parametrize("start", [("parentbased_traceidratio", "0.5")], indirect=True)
def test_a_malformed_parent_begins_a_trace_apart_from_those_before(start: Start) -> None:
    spans = [start(parent) for _ in range(500) for parent in (None, MALFORMED)]
    assert len({trace_id_of(span) for span in spans}) == 1000
    assert 150 <= sum(span.trace_id is not None for span in spans[1::2]) <= 350


@pytest.mark.parametrize(
    ("start", "is_recorded"),
    [
        (("parentbased_traceidratio", "0"), True),
        (("traceidratio", "1"), True),
        (("traceidratio", "0"), False),
        (("always_off", ""), False),
    ],
    indirect=["start"],
)
def test_a_sampled_trace_goes_on_under_its_id_with_the_samplers_decision(start: Start, is_recorded: bool) -> None:
    span = start(SENDERS)
    assert span.trace_id == (SENDERS_TRACE_ID if is_recorded else None)
    assert (span.traceparent or "").startswith(f"00-{SENDERS_TRACE_ID}-")
    assert (span.traceparent or "").endswith("-01" if is_recorded else "-00")
    assert span.traceparent != SENDERS, "the next service continues this span, not the sender's"


@pytest.mark.parametrize("start", [("parentbased_traceidratio", "0.5")], indirect=True)
def test_contexts_are_of_the_form_of_w3c_and_say_that_their_ids_are_random(start: Start) -> None:
    spans = [start(None) for _ in range(200)]
    for span in spans:
        trace_id, flags = (r"[0-9a-f]{32}", "02") if span.trace_id is None else (span.trace_id, "03")
        assert re.fullmatch(rf"00-{trace_id}-[0-9a-f]{{16}}-{flags}", span.traceparent or "")
        assert span.child("its part").trace_id == span.trace_id


@pytest.mark.parametrize(("delay_ms", "is_soon"), [(None, True), ("60000", False)])
async def test_spans_are_exported_soon_unless_the_standard_variable_sets_another_time(
    delay_ms: str | None, is_soon: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the SDK's default they would wait for 5 s, and be so many that their export delays events."""
    async with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        if delay_ms is not None:
            monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", delay_ms)
        tracer = OtlpTracer("test")
        tracer.start("it", kind="server", parent=None).end()
        exported = eventually(lambda: bool(receiver.spans), within_s=3, what="an export")
        with nullcontext() if is_soon else pytest.raises(AssertionError):
            await exported
        await tracer.close()
