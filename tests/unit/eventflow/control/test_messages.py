"""Messages between processors: nothing is lost on the way, nothing that comes raises, and 0.1.0 is understood."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.control.messages import (
    BODY_MAX_BYTES,
    AskStatus,
    BreakerClosed,
    BreakerOpened,
    Broadcast,
    Cause,
    Counted,
    Ignored,
    InHand,
    Joined,
    Known,
    LastAttempt,
    Pause,
    RateReduced,
    Why,
    decode,
    encode,
    facts_of,
)
from eventflow.control.reports import (
    CollectorReport,
    FailureCause,
    ProcessorReport,
    RateReport,
    SpoolReport,
    TargetReport,
)
from tests.support.recorded import recorded_bodies

PROCESSOR = "eventflow-processor@vm:20604"
OF_0_1_0: dict[str, Broadcast] = {
    kind: Broadcast(flow="recorded", sender=sender, message=message)
    for kind, sender, message in [
        ("rate", PROCESSOR, RateReduced(units_per_s=25.000098615416658)),
        ("pause", PROCESSOR, Pause(for_s=3.0)),
        ("why", "eventflow@vm:20612", Why(event_id="hangs")),
        (
            "known",
            PROCESSOR,
            Known(event_id="hangs", in_hand=InHand(state="in_flight", lane="events", attempt=1, here_s=0.75)),
        ),
        ("known nothing", PROCESSOR, Known(event_id="unknown")),
        ("breaker open", PROCESSOR, BreakerOpened(cause=Cause.DOWN)),
        ("breaker closed", PROCESSOR, BreakerClosed()),
    ]
}

texts = st.text(max_size=30)
counts = st.integers(min_value=0, max_value=10**9)
seconds = st.floats(min_value=0, allow_infinity=False, allow_nan=False)
failures = st.builds(
    FailureCause, reason=texts, status=st.none() | counts, detail=st.none() | texts, text=st.none() | texts
)
attempts = st.builds(
    LastAttempt,
    outcome=texts,
    attempt=counts,
    ago_s=seconds,
    delay_s=st.none() | seconds,
    failure=st.none() | failures,
)
in_hands = st.builds(InHand, state=texts, lane=texts, attempt=counts, here_s=seconds)
unbounded = st.none() | st.just(math.inf) | seconds
processors = st.builds(
    ProcessorReport,
    is_ready=st.none() | st.booleans(),
    obstacles=st.lists(texts, max_size=3).map(tuple),
    is_consuming=st.none() | st.booleans(),
    held=st.none() | counts,
    in_flight=st.none() | counts,
    oldest_s=st.none() | seconds,
    is_paused=st.none() | st.booleans(),
    paused_at=st.none() | texts,
    paused_by=st.none() | texts,
    throttled_s=st.none() | seconds,
    blocked_by=st.none() | texts,
    target=st.none()
    | st.builds(
        TargetReport, state=texts, status=st.none() | counts, for_s=st.none() | seconds, failure=st.none() | failures
    ),
    rate=st.none()
    | st.builds(
        RateReport,
        now_per_s=unbounded,
        configured_per_s=unbounded,
        ordered_per_s=st.none() | seconds,
        share_per_s=unbounded,
        cost=st.none() | seconds,
    ),
    eta_s=unbounded,
    arrival_per_s=st.none() | seconds,
    departure_per_s=st.none() | seconds,
    queues_vanished=st.none() | counts,
    dangerous_policies=st.none() | counts,
)
spools = st.builds(
    SpoolReport,
    state=texts,
    events=counts,
    set_aside=counts,
    size_bytes=counts,
    oldest_s=seconds,
    failing=st.booleans(),
)
collectors = st.builds(
    CollectorReport,
    is_ready=st.none() | st.booleans(),
    broker=st.none() | texts,
    spool=st.none() | spools,
    accepted_total=st.none() | counts,
    uptime_s=st.none() | seconds,
)
messages = st.one_of(
    st.just(AskStatus()),
    processors,
    collectors,
    st.builds(Pause, for_s=seconds),
    st.builds(BreakerOpened, cause=st.sampled_from(Cause), status=st.none() | counts),
    st.just(BreakerClosed()),
    st.builds(RateReduced, units_per_s=seconds.filter(bool)),
    st.builds(Joined, number=counts),
    st.builds(Counted, newcomers=st.dictionaries(texts, counts, max_size=3), joins=counts, processors=counts),
    st.builds(Why, event_id=texts),
    st.builds(Known, event_id=texts, last=st.none() | attempts, in_hand=st.none() | in_hands),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
fields = (
    "is_ready",
    "obstacles",
    "held",
    "paused_at",
    "target",
    "rate",
    "eta_s",
    "spool",
    "broker",
    "open",
    "cause",
    "status",
    "for_s",
    "units_per_s",
    "number",
    "newcomers",
    "joins",
    "processors",
    "id",
    "last",
    "state",
    "lane",
    "attempt",
    "here_s",
    "reason",
)


def body_of(**document: Any) -> bytes:
    return json.dumps({"flow": "f", "from": "p", **document}).encode()


@given(st.builds(Broadcast, flow=texts, sender=texts, message=messages))
def test_every_message_comes_out_as_it_went_in(broadcast: Broadcast) -> None:
    assert decode(encode(broadcast)) == broadcast


@given(st.binary(max_size=200) | json_values.map(json.dumps).map(str.encode))
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(decode(body), Ignored)


@given(
    kind=st.sampled_from(["pause", "breaker", "rate", "why", "known", "status", "processor", "collector"]),
    more=st.dictionaries(st.sampled_from(fields), json_values),
)
def test_no_fields_of_a_known_kind_raise(kind: str, more: dict[str, Any]) -> None:
    received = decode(body_of(kind=kind, **more))
    assert isinstance(received, Broadcast | Ignored)
    if isinstance(received, Broadcast):
        assert decode(encode(received)) == received


@pytest.mark.parametrize("kind", recorded_bodies("0.1.0", "control"))
def test_a_message_of_0_1_0_is_read_as_it_was_meant(kind: str) -> None:
    assert decode(recorded_bodies("0.1.0", "control")[kind]) == OF_0_1_0[kind]


@pytest.mark.parametrize("kind", OF_0_1_0)
def test_what_is_sent_is_what_0_1_0_would_have_sent_and_at_most_a_field_more(kind: str) -> None:
    """0.1.0 reads by kind and by the fields that it knows, and ignores the others."""
    sent, recorded = json.loads(encode(OF_0_1_0[kind])), json.loads(recorded_bodies("0.1.0", "control")[kind])
    assert sent.items() >= recorded.items()
    assert set(sent) - set(recorded) == ({"cause", "status"} if kind == "breaker open" else set())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Ignored.MALFORMED),
        (b"[" * BODY_MAX_BYTES, Ignored.MALFORMED),
        (b" " * (BODY_MAX_BYTES + 1), Ignored.TOO_LARGE),
        (body_of(kind="processor", held=10**400), Ignored.MALFORMED),
        (body_of(kind="vote"), Ignored.UNKNOWN_KIND),
        (body_of(), Ignored.MALFORMED),
        (body_of(kind="pause"), Ignored.MALFORMED),
        (body_of(kind="pause", for_s=float("nan")), Ignored.MALFORMED),
        (body_of(kind="pause", for_s=10**400), Ignored.MALFORMED),
        (body_of(kind="pause", for_s=True), Ignored.MALFORMED),
        (body_of(kind="rate", units_per_s=0), Ignored.MALFORMED),
        (body_of(kind="breaker", open=1), Ignored.MALFORMED),
        (body_of(kind="why", id=7), Ignored.MALFORMED),
        (body_of(kind="known", id="e", last=[1]), Ignored.MALFORMED),
        (body_of(kind="processor", held="12"), Ignored.MALFORMED),
        (body_of(kind="processor", rate=7), Ignored.MALFORMED),
        (body_of(kind="processor", obstacles="none"), Ignored.MALFORMED),
        (body_of(kind="collector", spool={}), Ignored.MALFORMED),
    ],
)
def test_a_body_that_cannot_be_used_is_ignored_for_a_reason(body: bytes, reason: Ignored) -> None:
    assert decode(body) is reason


def test_a_later_version_may_add_fields_causes_states_and_outcomes() -> None:
    received = decode(body_of(kind="breaker", open=True, cause="melted", status=500, since_s=9))
    assert received == Broadcast(flow="f", sender="p", message=BreakerOpened(cause=Cause.DOWN, status=500))
    answer = {"state": "parked", "lane": "express", "attempt": 2, "here_s": 1.5, "color": "red"}
    received = decode(body_of(kind="known", id="e", last={"outcome": "sold", "attempt": 1, "ago_s": 3}, **answer))
    assert isinstance(received, Broadcast)
    assert isinstance(received.message, Known)
    assert facts_of(received.message)["state"] == "parked"


def test_the_facts_are_those_that_eventflow_why_has_always_shown() -> None:
    failure = FailureCause(reason="server_error", status=503)
    last = LastAttempt(outcome="retry", attempt=1, ago_s=2.5, delay_s=5, failure=failure)
    shown = {"outcome": "retry", "attempt": 1, "delay_s": 5, "reason": "server_error", "status": 503, "detail": None}
    assert facts_of(Known(event_id="e", last=last)) == {"last": {**shown, "ago_s": 2.5}, "state": "past"}
    assert facts_of(Known(event_id="e")) == {}


def test_a_report_without_a_field_says_unknown_and_never_0() -> None:
    """A service of another version sends fewer fields, or more."""
    assert decode(body_of(kind="processor", color="red")) == Broadcast(flow="f", sender="p", message=ProcessorReport())
    report = ProcessorReport()
    assert (report.held, report.is_paused, report.eta_s, report.rate, report.is_ready) == (None,) * 5
    assert json.loads(encode(Broadcast(flow="f", sender="p", message=report))).keys() == {"kind", "flow", "from"}


def test_no_report_of_a_processor_is_too_large_for_its_reader() -> None:
    widest = "\u00fc" * 256  # 512 bytes, which JSON escapes to 1536
    cause = FailureCause(reason="unexpected_status", status=599, detail="certificate_not_yet_valid", text=widest)
    report = ProcessorReport(
        is_ready=False,
        obstacles=("x" * 200,) * 4,
        is_consuming=False,
        held=2**31,
        in_flight=2**31,
        oldest_s=123456789.123,
        is_paused=True,
        paused_at="2026-11-28T09:59:12.126Z",
        paused_by="\u00fc" * 100,
        throttled_s=123456.789,
        blocked_by="AttemptNotMadeError",
        target=TargetReport(state="blocked", status=401, for_s=123456.789, failure=cause),
        rate=RateReport(
            now_per_s=0.1 + 0.2, configured_per_s=math.inf, ordered_per_s=1e-5, share_per_s=1 / 3, cost=1 / 3
        ),
        eta_s=math.inf,
        arrival_per_s=123456.789,
        departure_per_s=123456.789,
        queues_vanished=2**31,
        dangerous_policies=2**31,
    )
    assert len(encode(Broadcast(flow="f" * 63, sender="s" * 120, message=report))) <= BODY_MAX_BYTES
