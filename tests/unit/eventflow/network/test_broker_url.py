"""Broker URLs: the library reads an accepted URL as it was checked, and no error shows any part of a URL."""

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventflow.network.broker_url import BrokerUrl, Tls, has_userinfo, parse_broker_url, with_credentials

DELIMITERS = st.sampled_from(
    ["/", "?", "#", "[", "]", "@", ":", "%", "%2F", "%ff", "..", " ", "\\", "\uff20", "\u2100"]
)
WORDS = st.text(st.characters(codec="utf-8"), max_size=3) | DELIMITERS
TEXTS = st.lists(WORDS, max_size=5).map("".join)
PORTS = st.sampled_from(["", ":", ":5672", ":0", ":99999", ":x", f":{'9' * 5000}"])
HOSTS = st.sampled_from(["host", "10.0.0.1", "[::1]", "[:::]", "a..b", "x" * 64, "h_1.b.", "h%41", 'h"', "schlo\xdf"])
SECRET = "s3cret"


@given(userinfo=TEXTS, host=HOSTS, port=PORTS, rest=st.just("") | TEXTS.map("/".__add__))
@example(userinfo="u:12#x", host="host", port="", rest="/")
@example(userinfo="u:\uff20x", host="host", port="", rest="/")
def test_a_url_is_refused_or_read_in_the_only_way_that_it_can_be(
    userinfo: str, host: str, port: str, rest: str
) -> None:
    url = f"amqp://{userinfo}@{host}{port}{rest}"
    try:
        read = parse_broker_url(url)
    except ValueError:
        return
    user, _, password = userinfo.partition(":")
    assert (read.username, read.password) == (unquote(user), unquote(password) or "guest")
    assert (read.host, read.port) == (host.strip("[]"), int(port[1:] or 5672) if port else 5672)
    assert read.vhost == (unquote(rest.partition("?")[0][1:]) or "/")


@given(username=st.text(min_size=1), password=st.text(min_size=1))
def test_credentials_apart_from_the_url_are_read_as_they_are(username: str, password: str) -> None:
    url = with_credentials("amqps://host:5671/v", username=username, password=password)
    assert has_userinfo(url)
    read = parse_broker_url(url)
    assert (read.username, read.password, read.host) == (username, password, "host")


@given(before=DELIMITERS, after=DELIMITERS)
def test_an_error_shows_no_part_of_a_password(before: str, after: str) -> None:
    try:
        parse_broker_url(f"amqp://user:{SECRET}{before}{SECRET}{after}@host/")
    except ValueError as error:
        assert SECRET not in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("path", "vhost"),
    [
        *(("", "/"), ("/", "/"), ("/%2F", "/"), ("/%2f", "/"), ("//", "/"), ("/v", "v"), ("/a%2Fb", "a/b")),
        # 100% was read as it stands; a%252Fb became a/b, and .. the default.
        *(("/100%25", "100%"), ("/a%252Fb", "a%2Fb"), ("/%2E%2E", ".."), ("/caf%C3%A9", "café"), ("/a+b", "a+b")),
    ],
)
def test_a_virtual_host_is_percent_decoded_once_as_the_uri_specification_says(path: str, vhost: str) -> None:
    """Source: https://www.rabbitmq.com/docs/uri-spec, appendix A; an empty one is `/`, as it has always been here."""
    assert parse_broker_url(f"amqp://host{path}").vhost == vhost


@pytest.mark.parametrize("word", ["false", "no", "off", "0", "False", "N"])
def test_verification_stays_on_however_one_says_no_to_not_verifying(word: str) -> None:
    """Stands for aio-pika#383: every value but 0 switched the verification off, `no_verify_ssl=false` too."""
    assert parse_broker_url(f"amqps://host/?no_verify_ssl={word}").tls == Tls(verify=True)


@pytest.mark.parametrize("query", ["no_verify_ssl=true", "no_verify_ssl=ON", "verify=verify_none"])
def test_verification_is_off_for_those_words_alone(query: str) -> None:
    assert parse_broker_url(f"amqps://host/?{query}").tls == Tls(verify=False)


def test_the_words_of_rabbitmqs_own_documents_are_understood() -> None:
    """The example of https://www.rabbitmq.com/docs/uri-query-parameters."""
    url = (
        "amqps://host:1234/?cacertfile=/ca.pem&certfile=/client.pem&keyfile=/key.pem&verify=verify_peer"
        "&server_name_indication=broker.internal&fail_if_no_peer_cert=true&auth_mechanism=EXTERNAL&heartbeat=5"
    )
    assert parse_broker_url(url) == BrokerUrl(
        host="host",
        port=1234,
        tls=Tls(cafile="/ca.pem", certfile="/client.pem", keyfile="/key.pem", server_name="broker.internal"),
        mechanism="external",
        ignored=("heartbeat",),
    )


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("amqps://h/?no_verify_ssl=", "true or false"),
        ("amqps://h/?no_verify_ssl=never", "true or false"),
        ("amqps://h/?verify=none", "verify_none"),
        ("amqps://h/?cacertfile=", "empty"),
        ("amqps://h/?cacert=/ca.pem", "is cacertfile meant"),
        ("amqps://h/?CaFile=/ca.pem", "is cafile meant"),
        ("amqps://h/?cafile=/a&cacertfile=/b", "twice"),
        ("amqps://h/?verify=verify_peer&no_verify_ssl=true", "twice"),
        ("amqps://h/?server_name_indication=disable", "verify_none"),
        ("amqps://h/?fail_if_no_peer_cert=false", "verify_none"),
        ("amqps://h/?cadata=%25%25", "base64"),
        ("amqps://h/?happy_eyeballs_delay=0.25", "250 ms"),
        ("amqps://h/?password=secret", "passphrase"),
        ("amqp://h/?cafile=/ca.pem", "amqps://"),
        ("amqp://h/?no_verify_ssl=true", "amqps://"),
        ("amqp://h:567200/", "65535"),
        ("amqp://h:${PORT}/", "amqp://user"),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_word(url: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_broker_url(url)
