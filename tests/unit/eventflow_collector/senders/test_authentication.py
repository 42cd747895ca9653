"""Every scheme of the vocabulary: published vectors are accepted, and nothing but the right secret is."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import nacl.signing
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from eventflow.senders.checks import problems_in
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Sender
from eventflow_collector.senders.authentication import Check, compile_authentication
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request
from tests.support.requests import request_of
from tests.support.senders import changes_of, hmac_of

NOW = datetime(2025, 7, 13, 12, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
READER = TypeAdapter(Sender)
SECRETS = ("current-secret", "previous-secret")


def sender_of(*schemes: Mapping[str, Any]) -> Sender:
    """As `read_senders` does, which prepares its reader each time."""
    sender = READER.validate_python({"name": "acme", "title": "acme", "authentication": list(schemes)})
    assert list(problems_in(sender)) == []
    return sender


def check_of(scheme: Mapping[str, Any] | Sender, *, secrets: tuple[str, ...] = SECRETS, url: str = "") -> Check:
    sender = scheme if isinstance(scheme, Sender) else sender_of(scheme)
    means = Means(secrets=secrets, tolerance_s=300, public_url=url, trusted_proxies=[ip_network("127.0.0.0/8")])
    return compile_authentication(sender, means).check


def flaw_of(
    scheme: Mapping[str, Any] | Sender,
    request: Request,
    *,
    secrets: tuple[str, ...] = SECRETS,
    now: datetime = NOW,
    url: str = "",
) -> Flaw | None:
    return check_of(scheme, secrets=secrets, url=url)(request, now)


def hmac_scheme(**changes: Any) -> dict[str, Any]:
    return {"scheme": "hmac", "signature": {"header": "X-Sig"}, **changes}


# Published vectors

SLACK = hmac_scheme(
    signature={"header": "X-Slack-Signature"},
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp={"header": "X-Slack-Request-Timestamp"},
)
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121"
    b".803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_HEADERS = {
    "X-Slack-Request-Timestamp": "1531420618",
    "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}

TWILIO = hmac_scheme(algorithm="sha1", encoding="base64", signed="{url}{form}", when={"place": {"header": "X-Sig"}})
TWILIO_BODY = b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE"
TWILIO_URL = "https://mycompany.com/myapp.php"

RFC_8032 = {"scheme": "ed25519", "signature": {"header": "X-Sig"}}
RFC_8032_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
RFC_8032_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def slack_flaw(headers: Mapping[str, str], body: bytes) -> Flaw | None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack, the example of the page."""
    now = datetime.fromtimestamp(1531420618, UTC)
    return flaw_of(SLACK, request_of(headers, body), secrets=("8f742231b10e8888abcd99yyyzzz85a5",), now=now)


def twilio_flaw(headers: Mapping[str, str], body: bytes) -> Flaw | None:
    """https://www.twilio.com/docs/usage/security, the example of the page."""
    request = request_of({**FORM, **headers}, body, query="foo=1&bar=2")
    return flaw_of(TWILIO, request, secrets=("12345",), url=TWILIO_URL)


def rfc_8032_flaw(headers: Mapping[str, str], body: bytes) -> Flaw | None:
    """RFC 8032, 7.1, test 2."""
    return flaw_of(RFC_8032, request_of(headers, body), secrets=(RFC_8032_KEY,))


VECTORS = [
    pytest.param(slack_flaw, SLACK_HEADERS, SLACK_BODY, id="slack"),
    pytest.param(twilio_flaw, {"X-Sig": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}, TWILIO_BODY, id="twilio"),
    pytest.param(rfc_8032_flaw, {"X-Sig": RFC_8032_SIGNATURE}, b"\x72", id="rfc-8032"),
]


@pytest.mark.parametrize(("flaw", "headers", "body"), VECTORS)
def test_a_published_vector_is_accepted(flaw, headers: Mapping[str, str], body: bytes) -> None:
    assert flaw(headers, body) is None


@pytest.mark.parametrize(("flaw", "headers", "body"), VECTORS)
def test_no_bit_of_a_published_vector_may_change(flaw, headers: Mapping[str, str], body: bytes) -> None:
    for changed in changes_of(body):
        # A form is signed decoded, and %2b is the same sign as %2B.
        if changed.lower() != body.lower() or b"%" not in body or flaw is slack_flaw:
            assert flaw(headers, changed) is not None, changed
    for name, value in headers.items():
        for changed in changes_of(value.encode()):
            text = changed.decode(errors="surrogateescape")
            assert flaw({**headers, name: text}, body) is not None, (name, text)


# Forms of signatures


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
def test_a_signature_is_accepted_as_senders_write_it(algorithm: str, encoding: str) -> None:
    scheme = hmac_scheme(algorithm=algorithm, encoding=encoding)
    written = hmac_of(b"previous-secret", b"body", algorithm=algorithm, encoding=encoding)
    forms = {written, written.upper()} if encoding == "hex" else {written, written.rstrip("=")}
    for form in forms:
        assert flaw_of(scheme, request_of({"X-Sig": form}, b"body")) is None
    padding = "" if encoding == "hex" else "=="
    others = [f" {written[1:]}", f"{written}{padding} ", f"{written}==", written.rstrip("=")[:-1], f"{written}\n", ""]
    others += [written.title() if encoding == "hex" else written.swapcase()]
    for other in others:
        assert flaw_of(scheme, request_of({"X-Sig": other}, b"body")) is Flaw.MISMATCH, other


def test_unused_bits_of_base64_are_not_ignored() -> None:
    scheme = hmac_scheme(encoding="base64")
    written = hmac_of(b"current-secret", b"body", encoding="base64")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for last in alphabet:
        flaw = flaw_of(scheme, request_of({"X-Sig": f"{written[:-2]}{last}="}, b"body"))
        assert flaw is (None if last == written[-2] else Flaw.MISMATCH)


def test_the_two_alphabets_of_base64_are_not_mixed() -> None:
    body, written = next(
        (body, text)
        for number in range(1000)
        if {"+", "/"} <= set(text := hmac_of(b"current-secret", body := b"%d" % number, encoding="base64"))
    )
    request = request_of({"X-Sig": written}, body)
    in_url = request_of({"X-Sig": written.replace("+", "-").replace("/", "_")}, body)
    assert flaw_of(hmac_scheme(encoding="base64"), request) is None
    assert flaw_of(hmac_scheme(encoding="base64url"), in_url) is None
    assert flaw_of(hmac_scheme(encoding="base64"), in_url) is Flaw.MISMATCH
    assert flaw_of(hmac_scheme(encoding="base64url"), request) is Flaw.MISMATCH


@pytest.mark.parametrize("between", [",", ", ", " , "])
def test_items_may_have_blanks_between_them(between: str) -> None:
    scheme = hmac_scheme(separator=",", prefix="v1=", signed="{timestamp}.{body}", timestamp={"item": "t="})
    right = hmac_of(b"current-secret", f"{SECONDS}.body".encode())
    items = [f"t={SECONDS}", f"v1={'0' * 64}", f"v1={right}", "v0=other", f"t={int(SECONDS) + 1}"]
    assert flaw_of(scheme, request_of({"X-Sig": between.join(items)}, b"body")) is None
    # The first time counts, so that nothing can be put before it.
    assert flaw_of(scheme, request_of({"X-Sig": between.join(reversed(items))}, b"body")) is Flaw.MISMATCH


def test_a_request_with_very_many_signatures_is_not_verified() -> None:
    right = hmac_of(b"current-secret", b"body")
    scheme = hmac_scheme(separator=",")
    assert flaw_of(scheme, request_of({"X-Sig": ",".join(["0" * 64] * 15 + [right])}, b"body")) is None
    assert flaw_of(scheme, request_of({"X-Sig": ",".join(["0" * 64] * 16 + [right])}, b"body")) is Flaw.MALFORMED


# Signed texts


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{body}", "a=2&a=1&b=%C3%BC"),
        ("{method}\n{url}\n{body}", "PUT\nhttps://x.example/in/a/b?q=%41\na=2&a=1&b=%C3%BC"),
        ("{url}{form}", "https://x.example/in/a/b?q=%41a1a2b\u00fc"),
        ("{body_sha256}", hashlib.sha256(b"a=2&a=1&b=%C3%BC").hexdigest()),
        ("x|{body_crc32}", f"x|{zlib.crc32(b'a=2&a=1&b=%C3%BC')}"),
        ("{secret}.{body}", "current-secret.a=2&a=1&b=%C3%BC"),
        ("{{{one}}}[[{body}]]%b%", "{1}[a=2&a=1&b=%C3%BC]%b%"),
        ("[no: {absent}\n]{body}[, one: {one}]", "a=2&a=1&b=%C3%BC, one: 1"),
    ],
)
def test_the_signed_text_is_the_one_of_the_template(template: str, text: str) -> None:
    fields = {name: {"header": f"X-{name}"} for name in ("one", "absent") if f"{{{name}}}" in template}
    headers = {**FORM, "X-Sig": hmac_of(b"current-secret", text.encode()), "X-One": "1"}
    request = request_of(headers, b"a=2&a=1&b=%C3%BC", method="PUT", sub_path="/a/b", query="q=%41")
    assert flaw_of(hmac_scheme(signed=template, fields=fields), request, url="https://x.example/in") is None


def test_an_address_ends_as_it_is_registered() -> None:
    scheme = hmac_scheme(signed="{url}{body}")
    for url in ("https://x.example/in", "https://x.example/in/"):
        request = request_of({"X-Sig": hmac_of(b"current-secret", f"{url}b".encode())}, b"b")
        assert flaw_of(scheme, request, url=url) is None
        assert flaw_of(scheme, request, url=f"{url}/") is Flaw.MISMATCH
    signature = hmac_of(b"current-secret", b"https://x.example/in/sub?b")
    below = request_of({"X-Sig": signature}, sub_path="/sub", query="b")
    assert flaw_of(scheme, below, url="https://x.example/in/") is None


def test_every_secret_counts_also_in_the_signed_text() -> None:
    scheme = hmac_scheme(signed="{secret}{body}")
    for secret in SECRETS:
        request = request_of({"X-Sig": hmac_of(secret.encode(), f"{secret}body".encode())}, b"body")
        assert flaw_of(scheme, request) is None
    mixed = request_of({"X-Sig": hmac_of(b"current-secret", b"previous-secretbody")}, b"body")
    assert flaw_of(scheme, mixed) is Flaw.MISMATCH


def test_a_body_that_is_no_form_does_not_count_as_an_empty_form() -> None:
    scheme = hmac_scheme(signed="{url}{form}")
    headers = {"X-Sig": hmac_of(b"current-secret", b"https://x.example/in")}
    for body, content_type in [(b"{}", "application/json"), (b"&".join([b"a=1"] * 1001), FORM["Content-Type"])]:
        request = request_of({**headers, "Content-Type": content_type}, body)
        assert flaw_of(scheme, request, url="https://x.example/in") is Flaw.MISSING
    assert flaw_of(scheme, request_of(headers, b""), url="https://x.example/in") is None


def test_bytes_of_a_form_that_are_not_text_cannot_be_exchanged() -> None:
    scheme = hmac_scheme(signed="{form}")
    headers = {**FORM, "X-Sig": hmac_of(b"current-secret", b"a\xff")}
    assert flaw_of(scheme, request_of(headers, b"a=%ff")) is None
    assert flaw_of(scheme, request_of(headers, b"a=%fe")) is Flaw.MISMATCH


def test_a_hash_of_the_body_in_a_signed_address_must_be_right() -> None:
    scheme = hmac_scheme(signed="{url}", body_sha256={"query": "bodySHA256"})
    query = f"bodySHA256={hashlib.sha256(b'body').hexdigest()}"
    headers = {"X-Sig": hmac_of(b"current-secret", f"https://x.example/in?{query}".encode())}
    assert flaw_of(scheme, request_of(headers, b"body", query=query), url="https://x.example/in") is None
    assert flaw_of(scheme, request_of(headers, b"bodx", query=query), url="https://x.example/in") is Flaw.MISMATCH
    without = {"X-Sig": hmac_of(b"current-secret", b"https://x.example/in")}
    assert flaw_of(scheme, request_of(without, b"body"), url="https://x.example/in") is Flaw.MISSING


@pytest.mark.parametrize(
    ("form", "now", "stale", "malformed"),
    [
        ("unix_s", SECONDS, str(int(SECONDS) - 301), "1e9"),
        ("unix_ms", f"{SECONDS}999", f"{int(SECONDS) + 301}000", f"{SECONDS}.1"),
        ("rfc3339", "2025-07-13T12:00:00.5Z", "2025-07-13T12:05:01+00:00", "2025-07-13"),
    ],
)
@pytest.mark.parametrize("place", ["header", "pointer", "form", "query"])
def test_a_signed_time_is_read_in_its_form(form: str, now: str, stale: str, malformed: str, place: str) -> None:
    key = {"header": "X-Time", "pointer": "/meta/time", "form": "time", "query": "time"}[place]
    scheme = hmac_scheme(signed="{timestamp}.{body}", timestamp={place: key}, timestamp_format=form)

    def flaw_at(text: str) -> Flaw | None:
        headers = {"X-Time": text}
        match place:
            case "pointer":
                body = json.dumps({"meta": {"time": text}}).encode()
            case "form":
                body = b"time=" + text.encode().replace(b"+", b"%2B")
                headers |= FORM
            case _:
                body = b"{}"
        headers["X-Sig"] = hmac_of(b"current-secret", text.encode() + b"." + body)
        query = "time=" + text.replace("+", "%2B")
        return flaw_of(scheme, request_of(headers, body, query=query))

    assert flaw_at(now) is None
    assert flaw_at(stale) is Flaw.STALE
    assert flaw_at(malformed) is Flaw.MALFORMED


def test_a_time_in_a_signed_body_needs_no_field_of_its_own() -> None:
    scheme = hmac_scheme(timestamp={"pointer": "/at"}, timestamp_format="unix_ms")
    for at, flaw in [(int(SECONDS) * 1000, None), (int(SECONDS) * 1000 - 300_001, Flaw.STALE)]:
        body = json.dumps({"at": at}).encode()
        assert flaw_of(scheme, request_of({"X-Sig": hmac_of(b"current-secret", body)}, body)) is flaw


# Public keys


def test_standard_webhooks_are_verified_by_a_public_key_too() -> None:
    private = nacl.signing.SigningKey(b"k" * 32)
    public = "whpk_" + base64.b64encode(bytes(private.verify_key)).decode()
    signed = b"msg_1." + SECONDS.encode() + b'.{"a":1}'
    signature = base64.b64encode(private.sign(signed).signature).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": SECONDS, "webhook-signature": f"v1,x v1a,{signature}"}
    sender = SENDERS["standard-webhooks"]
    secrets = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", public)
    assert flaw_of(sender, request_of(headers, b'{"a":1}'), secrets=secrets) is None
    assert flaw_of(sender, request_of(headers, b'{"a":2}'), secrets=secrets) is Flaw.MISMATCH
    assert flaw_of(sender, request_of(headers, b'{"a":1}'), secrets=secrets[:1]) is Flaw.MISMATCH
    as_hmac = {**headers, "webhook-signature": f"v1,{signature}"}
    assert flaw_of(sender, request_of(as_hmac, b'{"a":1}'), secrets=secrets) is Flaw.MISMATCH


# Tokens


@pytest.mark.parametrize(
    ("scheme", "request_", "flaw"),
    [
        ({"token": {"header": "X-Gitlab-Token"}}, request_of({"X-Gitlab-Token": "previous-secret"}), None),
        ({"token": {"header": "X-Gitlab-Token"}}, request_of({"X-Gitlab-Token": "previous-secre"}), Flaw.WRONG_TOKEN),
        ({"token": {"header": "X-Gitlab-Token"}}, request_of({}), Flaw.NO_TOKEN),
        ({"token": {"header": "X-Gitlab-Token"}}, request_of({"X-Gitlab-Token": ""}), Flaw.NO_TOKEN),
        ({"token": {"header": "X-Gitlab-Token"}}, request_of({"X-Gitlab-Token": "\udcff"}), Flaw.WRONG_TOKEN),
        (
            {"token": {"header": "Authorization"}, "prefix": "Bearer "},
            request_of({"authorization": "bearer current-secret"}),
            None,
        ),
        (
            {"token": {"header": "Authorization"}, "prefix": "Bearer "},
            request_of({"authorization": "current-secret"}),
            Flaw.WRONG_TOKEN,
        ),
        ({"token": {"query": "token"}}, request_of({}, query="a=1&token=current%2Dsecret"), None),
        ({"token": {"query": "token"}}, request_of({}, query="token=x&token=current-secret"), Flaw.WRONG_TOKEN),
        ({"token": {"sub_path": True}}, request_of({}, sub_path="/current%2Dsecret"), None),
        ({"token": {"sub_path": True}}, request_of({}, sub_path="/current-secret/"), Flaw.WRONG_TOKEN),
        ({"token": {"sub_path": True}}, request_of({}), Flaw.NO_TOKEN),
        ({"token": {"form": "token"}}, request_of(FORM, b"a=1&token=current-secret"), None),
        ({"token": {"pointer": "/a/token"}}, request_of({}, b'{"a": {"token": "current-secret"}}'), None),
        ({"token": {"pointer": "/a/token"}}, request_of({}, b'{"a": {"token": 1}}'), Flaw.NO_TOKEN),
        ({"token": {"pointer": "/a/token"}}, request_of({}, b"\xff"), Flaw.NO_TOKEN),
    ],
)
def test_a_token_is_one_of_the_secrets(scheme: dict[str, Any], request_: Request, flaw: Flaw | None) -> None:
    assert flaw_of({"scheme": "token", **scheme}, request_) is flaw


@pytest.mark.parametrize(
    ("states", "flaw"),
    [
        (["current-secret"], None),
        (["current-secret", "previous-secret"], None),
        (["current-secret", "other"], Flaw.WRONG_TOKEN),
        (["current-secret", None], Flaw.WRONG_TOKEN),
        (["current-secret", ["current-secret"]], Flaw.WRONG_TOKEN),
        ([], Flaw.NO_TOKEN),
    ],
)
def test_every_element_must_have_the_token(states: list[object], flaw: Flaw | None) -> None:
    body = json.dumps({"value": [{"clientState": state} for state in states]}).encode()
    assert flaw_of({"scheme": "token", "token": {"pointer": "/value/*/clientState"}}, request_of({}, body)) is flaw


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        ("Basic " + base64.b64encode(b"user:pass:word").decode(), None),
        ("basic " + base64.b64encode(b"user:pass:word").decode().rstrip("="), None),
        ("Basic " + base64.b64encode(b"user:password").decode(), Flaw.WRONG_TOKEN),
        ("Basic user:pass:word", Flaw.WRONG_TOKEN),
        ("Bearer user:pass:word", Flaw.WRONG_TOKEN),
        ("", Flaw.NO_TOKEN),
    ],
)
def test_basic_authentication_is_user_and_password(value: str, flaw: Flaw | None) -> None:
    assert flaw_of({"scheme": "basic"}, request_of({"Authorization": value}), secrets=("user:pass:word",)) is flaw


class Peer:
    def __init__(self, address: str | None) -> None:
        self.address = address


@pytest.mark.parametrize(
    ("address", "lines", "flaw"),
    [
        ("127.0.0.1", ["CN=acme"], None),
        ("::ffff:127.0.0.1", ["CN=acme"], None),
        ("127.0.0.1", ["CN=other"], Flaw.WRONG_TOKEN),
        ("127.0.0.1", [], Flaw.NO_TOKEN),
        ("127.0.0.1", ["CN=acme", "CN=acme"], Flaw.WRONG_TOKEN),
        ("10.0.0.1", ["CN=acme"], Flaw.UNTRUSTED_PROXY),
        ("::1", ["CN=acme"], Flaw.UNTRUSTED_PROXY),
        ("fe80::1%eth0", ["CN=acme"], Flaw.UNTRUSTED_PROXY),
        (None, ["CN=acme"], Flaw.UNTRUSTED_PROXY),
    ],
)
def test_a_header_of_a_proxy_counts_only_from_there(address: str | None, lines: list[str], flaw: Flaw | None) -> None:
    head = request_of({}).head
    for line in lines:
        head.headers.add("X-Client-DN", line)  # type: ignore[attr-defined]
    request = Request(head, b"", peer=Peer(address))
    assert flaw_of({"scheme": "proxied", "header": "X-Client-DN"}, request, secrets=("CN=acme",)) is flaw


# Several schemes


def test_one_of_several_schemes_is_enough_and_each_has_its_conditions() -> None:
    sender = sender_of(
        hmac_scheme(when=[{"place": {"header": "X-Kind"}, "equals": "signed"}]),
        {"scheme": "token", "token": {"header": "X-Token"}, "when": {"place": {"header": "X-Kind"}, "equals": "token"}},
    )
    signed = {"X-Sig": hmac_of(b"current-secret", b"body")}
    token = {"X-Token": "current-secret"}
    for headers, flaw in [
        ({"X-Kind": "signed", **signed}, None),
        ({"X-Kind": "token", **token}, None),
        ({"X-Kind": "token", **signed}, Flaw.NO_TOKEN),
        ({"X-Kind": "signed", **token}, Flaw.MISSING),
        ({"X-Kind": "other", **signed, **token}, Flaw.MISSING),
    ]:
        assert flaw_of(sender, request_of(headers, b"body")) is flaw
    both = sender_of(hmac_scheme(), {"scheme": "token", "token": {"header": "X-Token"}})
    assert flaw_of(both, request_of({"X-Sig": "0" * 64, **token}, b"body")) is None
    assert flaw_of(both, request_of({"X-Sig": "0" * 64}, b"body")) is Flaw.MISMATCH
    assert flaw_of(both, request_of({"X-Token": "x"}, b"body")) is Flaw.WRONG_TOKEN


# Properties

NAMES = ("one", "two", "timestamp", "url", "method", "body")
texts = st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "S"]), max_size=12)
constants = st.text(st.characters(codec="ascii", exclude_characters="{}[]"), max_size=6)


@given(
    st.lists(st.tuples(constants, st.sampled_from(NAMES)), max_size=6),
    texts,
    texts,
    st.binary(max_size=40),
    st.sampled_from(["sha1", "sha256", "sha512"]),
    st.sampled_from(["hex", "base64", "base64url"]),
    st.sampled_from(["", "v1=", "sha256="]),
)
def test_any_template_is_verified_as_it_is_signed(
    parts: list[tuple[str, str]],
    one: str,
    two: str,
    body: bytes,
    algorithm: str,
    encoding: str,
    prefix: str,
) -> None:
    parts = [*parts, ("", "body")]
    template = "".join(f"{constant}{{{name}}}" for constant, name in parts)
    used = {name for _, name in parts}
    values = {
        "one": one.encode(),
        "two": two.encode(),
        "timestamp": SECONDS.encode(),
        "url": b"https://x.example/in?q=1",
        "method": b"POST",
        "body": body,
    }
    text = b"".join(constant.encode() + values[name] for constant, name in parts)
    scheme = hmac_scheme(
        signed=template,
        algorithm=algorithm,
        encoding=encoding,
        prefix=prefix,
        fields={name: {"header": f"X-{name}"} for name in ("one", "two") if name in used},
    )
    if "timestamp" in used:
        scheme["timestamp"] = {"header": "X-Time"}
    signature = prefix + hmac_of(b"current-secret", text, algorithm=algorithm, encoding=encoding)
    headers = {"X-Sig": signature, "X-One": one, "X-Two": two, "X-Time": SECONDS}
    check = check_of(scheme, url="https://x.example/in")
    assert check(request_of(headers, body, query="q=1"), NOW) is None
    for changed in changes_of(body):
        assert check(request_of(headers, changed, query="q=1"), NOW) is Flaw.MISMATCH
    for changed in changes_of(signature.encode()):
        other = {**headers, "X-Sig": changed.decode(errors="surrogateescape")}
        assert check(request_of(other, body, query="q=1"), NOW) is Flaw.MISMATCH


ANY_SCHEME = [
    SLACK,
    TWILIO,
    hmac_scheme(separator=",", prefix="v1=", signed="{timestamp}.{body}", timestamp={"item": "t="}),
    hmac_scheme(signature={"pointer": "/sig"}, signed="{a}", fields={"a": {"pointer": "/a"}}, signs_body=False),
    hmac_scheme(signature={"form": "sig"}, signed="{form}"),
    hmac_scheme(signature={"query": "sig"}, signed="{url}[{q}]{body}", fields={"q": {"query": "q"}}, encoding="base64"),
    {"scheme": "token", "token": {"pointer": "/value/*/a"}},
    {"scheme": "token", "token": {"sub_path": True}},
    {"scheme": "basic"},
    {"scheme": "proxied", "header": "X-Sig"},
]
ANY_CHECK = [
    *(check_of(scheme, secrets=(*SECRETS, "user:password"), url="https://x.example/in") for scheme in ANY_SCHEME),
    check_of(RFC_8032, secrets=(RFC_8032_KEY,)),
]


@given(st.text(max_size=60), st.binary(max_size=60), st.sampled_from([*FORM.values(), "application/json", ""]))
@example("t=1,v1=", b'{"sig": "\xc3\xbf", "a": 1}', "application/json")
@example("", b'{"value": [[[{"a": {}}]]]}', "")
def test_no_text_is_a_signature_and_none_is_an_error(text: str, body: bytes, content_type: str) -> None:
    names = ("X-Sig", "Authorization", "X-Slack-Signature", "X-Slack-Request-Timestamp", "Content-Type")
    headers = {**dict.fromkeys(names, text.encode(errors="surrogatepass").decode(errors="surrogateescape"))}
    headers["Content-Type"] = content_type or text
    request = request_of(headers, body, query=f"sig={headers['X-Sig']}&q=1", sub_path=f"/{headers['X-Sig']}")
    request.peer = Peer("127.0.0.1")
    for check in ANY_CHECK:
        assert check(request, NOW) is not None
