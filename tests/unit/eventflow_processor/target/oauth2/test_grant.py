"""The client credentials grant: requests for tokens, and tokens in answers."""

import base64
import json
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow_processor.target.oauth2.grant import (
    LIFETIME_MAX_S,
    UNSTATED_LIFETIME_S,
    Grant,
    NoToken,
    Token,
    token_in,
)

GRANT = Grant(
    url="https://id.test/token", client_id="a:b", secret="s/+ \u20ac", scope="x y", audience="https://api.test"
)


def test_id_and_secret_are_encoded_before_they_are_joined() -> None:
    """RFC 6749, section 2.3.1; otherwise an id with a colon could not be separated from the secret."""
    scheme, _, credentials = GRANT.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(credentials)) == ("Basic", b"a%3Ab:s%2F%2B+%E2%82%AC")
    assert parse_qs(GRANT.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["x y"],
        "audience": ["https://api.test"],
    }


def test_id_and_secret_can_be_in_the_body() -> None:
    grant = Grant(url=GRANT.url, client_id="a:b", secret="s/+ \u20ac", auth="body")
    assert "Authorization" not in grant.headers
    assert parse_qs(grant.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["a:b"],
        "client_secret": ["s/+ \u20ac"],
    }


def answer(**fields: object) -> bytes:
    return json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": 60} | fields).encode()


@pytest.mark.parametrize(
    ("expires_in", "lifetime_s"),
    [
        (60, 60),
        (0.5, 0.5),
        ("3600", 3600),
        (10**400, LIFETIME_MAX_S),
        (float("inf"), LIFETIME_MAX_S),
        *((odd, UNSTATED_LIFETIME_S) for odd in (None, 0, -1, True, "soon", "9" * 5000, float("nan"), [60], {})),
    ],
)
def test_a_lifetime_is_bounded_and_never_missing(expires_in: object, lifetime_s: float) -> None:
    assert token_in(200, answer(expires_in=expires_in)) == Token(value="t", lifetime_s=lifetime_s)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (503, b"", "HTTP 503"),
        (400, b'{"error": "invalid_scope", "error_description": "s3cret"}', "HTTP 400, invalid_scope"),
        (401, b'{"error": "Basic s3cret"}', "HTTP 401"),
        (302, b"moved", "HTTP 302"),
        (200, b"<html>", "no access token"),
        (200, b"[" * 100_000, "no access token"),
        (200, b"[]", "no access token"),
        (200, answer(access_token=None), "no access token"),
        (200, answer(access_token=""), "no access token"),
        (200, answer(access_token="s3cret\r\nX-Injected: 1"), "no access token"),
        (200, answer(access_token="s3cret " * 2), "no access token"),
        (200, answer(access_token="x" * 20_000), "no access token"),
        (200, answer(token_type="mac"), "not a Bearer token"),
        (200, answer(token_type=5), "not a Bearer token"),
    ],
)
def test_an_answer_without_a_token_is_described_without_its_content(status: int, body: bytes, text: str) -> None:
    found = token_in(status, body)
    assert isinstance(found, NoToken)
    assert text in found.text
    assert "s3cret" not in found.text


@given(
    status=st.sampled_from([200, 400, 500]), body=st.binary(max_size=200) | st.text().map(json.dumps).map(str.encode)
)
def test_any_answer_is_read(status: int, body: bytes) -> None:
    assert isinstance(token_in(status, body), NoToken | Token)


def test_no_secret_is_shown() -> None:
    assert "s/+" not in repr(GRANT)
    assert "t0ken" not in repr(Token(value="t0ken", lifetime_s=1))
