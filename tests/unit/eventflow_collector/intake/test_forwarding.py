"""The headers and the query that a flow forwards, and those that it never forwards."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from eventflow.forwarded import FORWARDED_MAX_BYTES, Forwarded, Parts, is_forwarded_text
from eventflow.settings.root import Settings
from eventflow_collector.intake.flow import flow_of
from eventflow_collector.intake.forwarding import Forwarding

SHOPIFY = {"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "s.myshopify.com", "User-Agent": "Shopify"}


def parts_of(
    headers: CIMultiDict[str] | dict[str, str], *names: str, query: str = "", forwards_query: bool = True
) -> Parts:
    forwarded = Forwarding(names, forwards_query=forwards_query).forwarded_of(CIMultiDict(headers), query)
    return Parts() if forwarded is None else forwarded.parts


def test_headers_are_forwarded_by_name_and_by_pattern_in_any_case() -> None:
    assert parts_of(SHOPIFY, "X-shopify-TOPIC").headers == {"x-shopify-topic": "orders/create"}
    assert parts_of(SHOPIFY, "X-Shopify-*").headers == {
        "x-shopify-topic": "orders/create",
        "x-shopify-shop-domain": "s.myshopify.com",
    }
    assert Forwarding(["X-Other"], forwards_query=True).forwarded_of(CIMultiDict(SHOPIFY), "") is None


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Cookie", "X-Api-Key", "apikey", "X-Hub-Signature-256", "X-Shopify-Hmac-Sha256"),
        *("X-Gitlab-Token", "X-Hook-Secret", "Stripe-Signature", "X-Auth", "PayPal-Transmission-Sig", "X-Password"),
    ],
)
def test_a_header_that_may_have_a_secret_is_forwarded_by_its_name_only(name: str) -> None:
    assert parts_of({name: "s"}, "*", name[:3] + "*", name[:-1] + "*").headers == {}
    assert parts_of({name: "s"}, name).headers == {name.lower(): "s"}


def test_the_header_that_authenticates_the_sender_is_forwarded_by_its_name_only() -> None:
    headers = CIMultiDict({"X-Check": "s"})
    assert Forwarding(["*"], secret_headers=["X-Check"]).forwarded_of(headers, "") is None
    assert Forwarding(["*", "x-check"], secret_headers=["X-Check"]).forwarded_of(headers, "") is not None


@pytest.mark.parametrize(("place", "query"), [({"query": "code"}, "a=1"), ({"header": "X-Check"}, "code=s&a=1")])
def test_a_flow_does_not_forward_the_signature_of_its_sender(place: dict[str, Any], query: str) -> None:
    settings = Settings.model_validate(
        {
            "senders": {"mine": {"title": "Mine", "authentication": {"scheme": "hmac", "signature": place}}},
            "source": {
                "verify": "mine",
                "secrets": ["user:password-1"],
                "forward_headers": ["*"],
                "forward_query": True,
            },
        }
    )
    forwarding = flow_of("default", settings).forwarding
    assert forwarding is not None
    headers = {"X-A": "1"} if "query" in place else {"X-A": "1", "X-Check": "s"}
    forwarded = forwarding.forwarded_of(CIMultiDict(headers), "code=s&a=1")
    assert forwarded is not None
    assert forwarded.parts == Parts(headers={"x-a": "1"}, query=query)


def test_the_parameter_that_authenticates_the_sender_is_not_forwarded() -> None:
    forwarding = Forwarding([], forwards_query=True, secret_parameters=["to ken"])
    for query in ("to+ken=s&a=1", "a=1&to%20ken=s"):
        forwarded = forwarding.forwarded_of(CIMultiDict(), query)
        assert forwarded is not None
        assert forwarded.parts.query == "a=1"


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Authorization", "TE"),
        *("Trailer", "Upgrade", "Expect", "Content-Type", "Content-Encoding", "Accept-Encoding", "Range", "If-Match"),
        *("Idempotency-Key", "ce-id", "CE-MyTag", "traceparent", "eventflow-attempt", "User-Agent", "Accept"),
    ],
)
def test_headers_of_the_connection_and_ours_are_never_forwarded(name: str) -> None:
    assert parts_of({name: "x"}, "*", name).headers == {}


def test_a_header_that_the_sender_ties_to_its_connection_is_not_forwarded() -> None:
    assert parts_of({"Connection": "close, X-Hop", "X-Hop": "1", "X-End": "2"}, "X-*").headers == {"x-end": "2"}


def test_lines_with_one_name_are_joined_and_empty_ones_are_absent() -> None:
    headers = CIMultiDict([("X-A", "1"), ("x-a", "2"), ("X-B", ""), ("X-C", " ")])
    assert parts_of(headers, "X-*").headers == {"x-a": "1, 2"}


@pytest.mark.parametrize(
    ("query", "forwarded"),
    [
        ("", ""),
        ("a=1&b=%C3%BC+%2f&&c", "a=1&b=%C3%BC+%2f&&c"),
        ("batch=1", ""),
        ("a=1&batch=1&batch=&batched=2", "a=1&batched=2"),
        ("a=ü b#c\udcff\r\n", "a=%C3%BC%20b%23c%FF%0D%0A"),
        ("a=%zz%&?/\"'\\", "a=%zz%&?/\"'\\"),
    ],
)
def test_the_query_is_forwarded_as_received_without_our_own_parameter(query: str, forwarded: str) -> None:
    assert parts_of({}, query=query).query == forwarded
    assert parts_of({}, query=query, forwards_query=False).query == ""


def test_what_is_too_large_is_left_out_piece_by_piece_and_counted() -> None:
    headers = {"X-1": "a" * 10_000, "X-2": "b" * 10_000, "X-3": "c" * 5_000, "X-4": "\udcff"}
    parts = parts_of(headers, "X-*", query="q=1")
    assert list(parts.headers) == ["x-1", "x-3"]
    assert (parts.query, parts.left_out) == ("q=1", 2)
    parts = parts_of(headers, "X-*", query="q" * 20_000)
    assert (parts.query, parts.left_out) == ("", 3)
    assert parts_of({"X-4": "\udcff"}, "X-*") == Parts(left_out=1)


@given(
    headers=st.dictionaries(
        st.sampled_from(["X-A", "x-b", "X-Long-Name", "Host"]), st.text(max_size=20).map(lambda text: text * 600)
    ),
    query=st.text(max_size=20).map(lambda text: text * 600),
)
def test_any_request_has_parts_that_a_message_can_carry(headers: dict[str, str], query: str) -> None:
    forwarded = Forwarding(["X-*"], forwards_query=True).forwarded_of(CIMultiDict(headers), query)
    if forwarded is not None:
        assert is_forwarded_text(forwarded.text)
        assert len(forwarded.text) <= FORWARDED_MAX_BYTES
        assert forwarded.is_cut == bool(forwarded.parts.left_out)
        assert Forwarded(forwarded.text).parts == forwarded.parts
