"""Handshakes: recognized and answered for the flow's own sender, and safe against strangers."""

import json
import tomllib
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.senders.handshake_checks import problems_of_handshakes
from eventflow.senders.reading import read_senders
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Sender
from eventflow_collector.senders.handshake import BODY_MAX_BYTES, CHALLENGE_MAX, Handshakes, Refused, Reply, Visit
from eventflow_collector.senders.request import Request
from tests.support.handshakes import DESCRIPTIONS, HANDSHAKES, SECRET, VERIFY_TOKEN, Handshaking
from tests.support.requests import request_of

DESCRIBED: Mapping[str, Sender] = read_senders(tomllib.loads(DESCRIPTIONS)["senders"])


def handshakes_of(sender: str, *, may_visit: bool = False) -> Handshakes:
    tokens = [VERIFY_TOKEN, "another token"]
    return Handshakes(DESCRIBED[sender], secrets=[SECRET, "old secret"], verify_tokens=tokens, may_visit=may_visit)


def request_in(given_: Handshaking) -> Request:
    return request_of(given_.signed_headers, given_.body, method=given_.method, query=given_.query)


def answer_to(sender: str, request: Request, *, may_visit: bool = False) -> Reply | Visit | Refused | None:
    handshake = handshakes_of(sender, may_visit=may_visit).fitting(request)
    return None if handshake is None else handshake.answer(request)


@pytest.mark.parametrize("name", HANDSHAKES)
def test_each_kind_is_answered_as_its_sender_wishes(name: str) -> None:
    handshake = HANDSHAKES[name]
    answer = answer_to(handshake.sender, request_in(handshake))
    assert isinstance(answer, Reply)
    assert (answer.status, answer.body) == (handshake.status, handshake.answer)
    assert dict(handshake.answer_headers).items() <= dict(answer.headers).items()
    assert dict(answer.headers).items() >= {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}.items()


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_request_with_another_method_is_none(name: str) -> None:
    handshake = HANDSHAKES[name]
    request = request_of(handshake.signed_headers, handshake.body, method="PATCH", query=handshake.query)
    assert answer_to(handshake.sender, request) is None


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_request_without_the_parts_of_a_handshake_is_none(name: str) -> None:
    handshake = HANDSHAKES[name]
    if name != "trello":
        assert answer_to(handshake.sender, request_of({}, b"", method=handshake.method)) is None
        assert answer_to(handshake.sender, request_of({}, b'{"a": 1}', method=handshake.method)) is None


def test_a_large_body_is_never_a_handshake() -> None:
    large = HANDSHAKES["discord"].body.ljust(BODY_MAX_BYTES)
    assert answer_to("discord-like", request_of({}, large)) is not None
    assert answer_to("discord-like", request_of({}, large + b" ")) is None


@pytest.mark.parametrize("token", [None, "", "wrong", VERIFY_TOKEN + " ", VERIFY_TOKEN[:-1], "\udcff", "\u00fc"])
def test_a_wrong_verify_token_is_refused(token: str | None) -> None:
    query = "hub.mode=subscribe&hub.challenge=1"
    if token is not None:
        query += f"&hub.verify_token={token}"
    answer = answer_to("meta-like", request_of({}, method="GET", query=query))
    assert isinstance(answer, Refused)
    assert answer.status == 403


def test_each_verify_token_is_accepted() -> None:
    query = "hub.mode=subscribe&hub.challenge=1&hub.verify_token=another+token"
    assert isinstance(answer_to("meta-like", request_of({}, method="GET", query=query)), Reply)


SUBSCRIPTION = request_of(
    {"x-amz-sns-message-type": "SubscriptionConfirmation"},
    b'{"SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=23"}',
)


def test_a_subscription_is_visited_only_if_the_setting_allows_it() -> None:
    refused = answer_to("sns-like", SUBSCRIPTION)
    assert isinstance(refused, Refused)
    assert refused.status == 403
    visit = answer_to("sns-like", SUBSCRIPTION, may_visit=True)
    assert isinstance(visit, Visit)
    assert visit.url == "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=23"
    assert (visit.hosts, visit.reply.status) == (("sns.*-*-*.amazonaws.com",), 200)


def test_the_head_alone_shows_whether_a_stranger_may_shake_hands() -> None:
    for name, is_open in {"slack": False, "xero": False, "graph": True, "azure": True, "meta": True}.items():
        handshake = HANDSHAKES[name]
        assert handshakes_of(handshake.sender).may_begin_with(request_in(handshake).head) is is_open
    assert not handshakes_of("azure-like").may_begin_with(request_of({"aeg-event-type": "Notification"}).head)
    assert not handshakes_of("meta-like").may_begin_with(request_of({}, method="POST").head)


@given(st.text(max_size=CHALLENGE_MAX + 10))
def test_a_reflected_text_is_printable_and_bounded(text: str) -> None:
    query = f"challenge={quote(text, errors='replace')}"
    answer = answer_to("dropbox-like", request_of({}, method="GET", query=query))
    sent = quote(text, errors="replace")
    match answer:
        case None:
            assert not sent
        case Refused(status=status):
            assert status == 400
            assert len(text) > CHALLENGE_MAX or not text.isprintable() or "%EF%BF%BD" in sent
        case Reply():
            shown = answer.body.decode()
            assert shown.isprintable()
            assert len(shown) <= CHALLENGE_MAX
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        case _:
            raise AssertionError(answer)


@given(st.text(max_size=40))
def test_a_text_reflected_in_a_header_cannot_add_another(text: str) -> None:
    answer = answer_to("asana-like", request_of({"X-Hook-Secret": text}))
    if isinstance(answer, Reply):
        assert answer.headers["X-Hook-Secret"] == text
        assert all(" " <= character <= "~" for character in text)
        assert text.strip() == text != ""
    else:
        assert answer is None or answer.status == 400


@given(st.text(max_size=40))
def test_a_text_reflected_in_json_stays_one_value(text: str) -> None:
    answer = answer_to("okta-like", request_of({"X-Okta-Verification-Challenge": text}, method="GET"))
    if isinstance(answer, Reply):
        assert json.loads(answer.body) == {"verification": text}
        assert answer.body.isascii()


def test_a_challenge_is_never_a_template() -> None:
    request = request_of({}, method="GET", query="challenge={digest}{challenge}")
    answer = answer_to("dropbox-like", request)
    assert isinstance(answer, Reply)
    assert answer.body == b"{digest}{challenge}"


@given(st.text("aZ0_=+/-{}\"'.: \n\u00fc", max_size=30))
def test_a_stranger_obtains_no_signature_of_an_event(text: str) -> None:
    handshakes = handshakes_of("twitter-like")
    request = request_of({}, method="GET", query=f"crc_token={quote(text)}")
    handshake = handshakes.fitting(request)
    if handshake is not None and isinstance(handshake.answer(request), Reply):
        assert handshakes.may_have_signed(text.encode())
    assert not handshakes_of("slack-like").may_have_signed(text.encode())


def test_the_handshakes_of_the_known_senders_are_safe() -> None:
    assert [problem for sender in SENDERS.values() for problem in problems_of_handshakes(sender)] == []


@pytest.mark.parametrize(
    ("handshake", "words"),
    [
        ({}, "when or challenge is expected"),
        ({"method": "GET", "digest": "hex"}, "challenge is expected"),
        ({"visit": {"header": "X"}, "visit_hosts": ["a.example"]}, "is_authenticated = true"),
        ({"method": "GET", "text": "a", "json": {"a": 1}}, "cannot be set together"),
        ({"method": "GET", "text": "a", "status": 204}, "no body"),
        ({"method": "GET", "status": 302}, "status"),
        ({"method": "GET", "headers": {"Location": "/"}}, "'Location' cannot be"),
        ({"method": "GET", "headers": {"Set-Cookie": "a=b"}}, "'Set-Cookie' cannot be"),
        ({"method": "GET", "headers": {"X A": "1"}}, "'X A' cannot be"),
        ({"method": "GET", "headers": {"X": "a\r\nb"}}, "printable ASCII"),
        ({"method": "TRACE"}, "method"),
        ({"method": "GET", "colour": "red"}, "colour"),
    ],
)
def test_a_description_that_cannot_work_is_refused(handshake: dict[str, object], words: str) -> None:
    table = {"authentication": {"scheme": "basic"}, "handshakes": [handshake]}
    with pytest.raises(ValueError, match=words) as raised:
        read_senders({"mine": table})
    assert "[senders.mine] handshakes.0" in str(raised.value)


@pytest.mark.parametrize("is_authenticated", [False, True])
@pytest.mark.parametrize("signed", ["{body}", "{timestamp}"])
def test_a_digest_for_strangers_needs_a_signature_over_the_body(signed: str, is_authenticated: bool) -> None:
    authentication = {
        "scheme": "hmac",
        "signature": {"header": "X-S"},
        "signed": signed,
        "signs_body": signed == "{body}",
    }
    if signed == "{timestamp}":
        authentication["timestamp"] = {"header": "X-T"}
    table = {
        "authentication": authentication,
        "handshakes": {
            "method": "GET",
            "challenge": {"query": "c"},
            "digest": "hex",
            "text": "{digest}",
            "is_authenticated": is_authenticated,
        },
    }
    if signed == "{body}" or is_authenticated:
        assert read_senders({"mine": table})["mine"].handshakes[0].text == "{digest}"
    else:
        with pytest.raises(ValueError, match="could be the signature of an event"):
            read_senders({"mine": table})
