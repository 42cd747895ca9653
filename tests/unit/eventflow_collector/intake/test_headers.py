"""Headers that come in: whatever stands in them, a reader of ours refuses the event on purpose or reads on."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from eventflow.errors import InvalidEventError
from eventflow.settings.root import Settings
from eventflow_collector.intake.attributes import batch_id, event_of, traceparent_of
from eventflow_collector.intake.flow import flow_of
from eventflow_collector.intake.mode import UnknownModeError, mode_of
from tests.support.cases import CASES
from tests.support.requests import request_of

PLAIN = flow_of("default", Settings())
NOW = datetime(2025, 7, 13, 12, tzinfo=UTC)
NAMES = (
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-time",
    "ce-subject",
    "ce-dataschema",
    "Content-Type",
    "Content-Encoding",
    "Idempotency-Key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "X-Shopify-Webhook-Id",
    "X-Shopify-Topic",
    "X-Shopify-Shop-Domain",
    "X-Shopify-Triggered-At",
    "X-Shopify-Hmac-Sha256",
    "X-GitHub-Delivery",
    "X-GitHub-Event",
    "X-Hub-Signature-256",
    "X-GitHub-Hook-Installation-Target-Type",
    "X-GitHub-Hook-Installation-Target-ID",
    "Stripe-Signature",
    "X-Signature",
    "traceparent",
    "Content-Length",
    "Authorization",
    "X-Api-Key",
)
TIMES = st.builds(
    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}".format,
    st.integers(0, 10_000),
    *(st.integers(0, 99) for _ in range(5)),
    st.sampled_from(["Z", "", "+00:00", "-23:59", "+99:99", ".999999999999Z"]),
)
SIGNATURES = st.lists(
    st.sampled_from(
        ["t=", "v1=", "v1,", "sha256=", ",", " ", "=", "9" * 12, "1752408000", "%", "%ff", "00-", "\udcff", "é"]
    ),
    max_size=10,
).map("".join)
VALUES = st.binary(max_size=40).map(lambda value: value.decode("utf-8", "surrogateescape")) | TIMES | SIGNATURES
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES | st.integers(0, 10**13).map(str), max_size=12)


@settings(max_examples=3 * CASES)
@given(FIELDS, st.booleans())
def test_no_header_of_an_event_is_a_surprise(fields: dict[str, str], is_cloudevent: bool) -> None:
    headers = CIMultiDict(fields | ({"ce-specversion": "1.0"} if is_cloudevent else {}))
    with suppress(InvalidEventError):
        event_of(PLAIN.identity, request_of(headers, b"{}"), flow="default", now=datetime.now(UTC))
    with suppress(InvalidEventError):
        batch_id(PLAIN.identity, request_of(headers, b"{}"))
    with suppress(UnknownModeError):
        mode_of(headers, batch="1")
    traceparent_of(headers)


@pytest.mark.parametrize(
    "verify",
    [
        {"verify": "github", "secrets": "It's a Secret to Everybody"},
        {"verify": "shopify", "secrets": "It's a Secret to Everybody"},
        {"verify": "stripe", "secrets": "It's a Secret to Everybody"},
        {"verify": "standard-webhooks", "secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        {"verify": "hmac", "hmac_header": "X-Signature", "secrets": "It's a Secret to Everybody"},
    ],
)
@given(fields=FIELDS)
def test_no_header_of_a_signature_is_a_surprise(verify: dict[str, str], fields: dict[str, str]) -> None:
    authenticate = flow_of("default", Settings.model_validate({"source": verify})).authenticate
    assert authenticate is not None
    assert authenticate(request_of(CIMultiDict(fields), b"{}"), NOW) is not None
