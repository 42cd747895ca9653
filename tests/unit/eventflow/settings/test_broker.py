"""The section `[broker]`."""

from pathlib import Path

import pytest
from yarl import URL

from eventflow.errors import SettingsError
from tests.support.settings import loaded


@pytest.mark.parametrize("character", [*"#/?[]@% ,\\\t", "\uff20", "\N{SNOWMAN}"])
def test_a_broker_password_that_is_not_encoded_is_refused_without_any_part_of_it(
    monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    """Reproduced on 0.1.0 (celery#5532, kombu#898): a traceback with the part of the password up to the character.

    Where that part is a number, as here, some were taken for a host with a port, and shown in each log line.
    """
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, BROKER__URL=f"amqp://user:56{character}zz@host:5672/")
    text = str(raised.value)
    assert text.startswith("EVENTFLOW_BROKER__URL: ")
    assert "percent-encode" in text
    assert "EVENTFLOW_BROKER__PASSWORD" in text
    assert "56" not in text
    assert "zz" not in text
    assert "\n" not in text


@pytest.mark.parametrize("character", "!\"$&'()*+-.:;<=>^_`{|}~")
def test_what_needs_no_encoding_is_read_by_the_library_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    (url,) = loaded(monkeypatch, BROKER__URL=f"amqp://user:56{character}zz@host:5672/").broker.urls
    assert URL(url).password == f"56{character}zz"


@pytest.mark.parametrize(
    "url",
    [
        *("amqp://u:s3cret@h:0/", "amqp://u:s3cret@h:567200/", "amqp://u:s3cret@h:s3cret/", "amqp://u:s3cret@h/%zz"),
        *("amqp://u:s3cret@h/%ff", "amqp://u:s3cret%ff@h/", "amqp://u:@h/", "amqp://:s3cret@h/", "amqp://@h/"),
        *("amqp://u:s3cret@rabbit-1..rabbit/", "amqp://u:s3cret@h/v/s3@cret", "amqp://u:s3cret@h/#s3cret", "amqp://"),
        *(
            "amqp://u:s3cret@h/?cadata=s3cret",
            "amqp://u:s3cret@h/?no_verify_ssl=false",
            "amqp://u:s3cret@h/?cacert=s3cret",
        ),
        *("amqp://u:s3cret@h/?timeout=s3cret", "amqp://u:s3cret@[::1/", "amqp:/u:s3cret@h", "//u:s3cret@h", "s3cret"),
        *("amqp://u:s3cret@h/?happy_eyeballs_delay=0.25", "amqp://u:s3cret@h?auth=s3cret"),
    ],
)
def test_a_broker_url_that_the_library_would_misread_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, BROKER__URL=f"amqp://good/,{url}")
    assert str(raised.value).startswith("EVENTFLOW_BROKER__URL: ")
    assert "s3" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "amqp://h",
            "amqp://h/",
            "amqp://h:5672",
            "amqps://u:p@h:5671/v%2Fw",
            "amqp://u@[::1]:5672/v",
            "amqp://h/a/b",
        ),
        "amqps://u:p@rabbit_1.internal./v?cafile=/etc/ca.pem&certfile=c.pem&keyfile=k.pem&no_verify_ssl=0&heartbeat=30",
    ],
)
def test_a_sound_broker_url_is_taken_as_it_stands(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert loaded(monkeypatch, BROKER__URL=url).broker.urls == (url,)


def test_the_encoded_password_and_the_one_apart_from_the_url_are_what_the_library_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    password = "p#a/s?s[w]o@r%d ü,:"
    urls = loaded(
        monkeypatch,
        BROKER__URL="amqp://one:5671/v,amqps://own:w%23@two",
        BROKER__USERNAME="ev:ent",
        BROKER__PASSWORD=password,
    ).broker.urls
    assert [(URL(url).user, URL(url).password) for url in urls] == [("ev:ent", password), ("own", "w#")]
    assert (URL(urls[0]).host, URL(urls[0]).port, URL(urls[0]).path) == ("one", 5671, "/v")
    monkeypatch.delenv("EVENTFLOW_BROKER__URL")
    urls = loaded(monkeypatch).broker.urls
    assert [(URL(url).user, URL(url).host, URL(url).port) for url in urls] == [("ev:ent", "127.0.0.1", 5672)]


def test_urls_stand_one_on_a_line_of_a_file_or_behind_commas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "urls").write_bytes(b"amqp://a:b@one/\r\namqp://a:b@two/,amqp://a:b@three/\n")
    settings = loaded(monkeypatch, BROKER__URL_FILE=str(tmp_path / "urls"))
    assert settings.broker.urls == ("amqp://a:b@one/", "amqp://a:b@two/", "amqp://a:b@three/")


@pytest.mark.parametrize(
    "variables",
    [
        {"BROKER__USERNAME": "u"},
        {"BROKER__PASSWORD": "s3cret"},
        {"BROKER__URL": "amqp://a:b@h/", "BROKER__USERNAME": "u", "BROKER__PASSWORD": "s3cret"},
        {"BROKER__URL": "amqp://h/", "BROKER__USERNAME": "u", "BROKER__PASSWORD": "s3cret\nline"},
    ],
)
def test_credentials_that_have_no_effect_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match=r"EVENTFLOW_BROKER__(USERNAME|PASSWORD)") as raised:
        loaded(monkeypatch, **variables)
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)
