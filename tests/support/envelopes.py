"""Envelopes, as property tests draw them."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from eventflow.event import Event
from eventflow.excerpt import excerpt_of
from eventflow.forwarded import forwarded
from eventflow.message import Envelope, Failure
from tests.support.attributes import attributes, extensions, parts, texts

ATTRIBUTES = attributes()
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
events = st.builds(
    Event,
    id=ATTRIBUTES,
    source=texts(),
    type=ATTRIBUTES,
    time=moments,
    accepted_at=moments,
    body=st.binary(max_size=300),
    content_type=st.none() | ATTRIBUTES,
    subject=st.none() | texts(),
    traceparent=st.none() | ATTRIBUTES,
    dataschema=st.none() | texts(),
    extensions=extensions(),
    forwarded=st.none() | parts().map(forwarded),
)
failures = st.builds(
    Failure,
    reason=ATTRIBUTES,
    status=st.none() | st.integers(100, 599),
    first_at=moments,
    last_at=moments,
    detail=st.none() | ATTRIBUTES,
    text=st.text().map(excerpt_of),
    traceparent=st.none() | ATTRIBUTES,
)
envelopes = st.builds(
    Envelope,
    event=events,
    attempt=st.integers(1, 1000),
    failure=st.none() | failures,
    content_encoding=st.none() | st.just("gzip"),
)
