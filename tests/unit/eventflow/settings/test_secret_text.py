"""Secrets in variables, files and arrays."""

import base64
import json
from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.load import load
from eventflow.signing import signing_key
from tests.support.settings import loaded, texts

WHSEC = "whsec_" + base64.b64encode(b"a key of tests, long").decode()
OTHER_WHSEC = "whsec_" + base64.b64encode(b"another key of tests").decode()


@pytest.mark.parametrize("secrets", ['api_keys = [""]', 'verify = "github"\nsecrets = ["k", ""]'])
def test_an_empty_secret_is_refused_since_whoever_sends_nothing_would_have_it(tmp_path: Path, secrets: str) -> None:
    path = tmp_path / "empty.toml"
    path.write_text(f"[source]\n{secrets}\n")
    with pytest.raises(SettingsError, match="EVENTFLOW_SOURCE__"):
        load(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first-key,other-key", ["first-key", "other-key"]),
        (" first-key , other-key ", ["first-key", "other-key"]),
        ('["first,key", "other-key"]', ["first,key", "other-key"]),
        (' ["first,key"] ', ["first,key"]),
        ("key with spaces", ["key with spaces"]),
        ("same-key,same-key", ["same-key"]),
        (f"v1,{WHSEC}", [f"v1,{WHSEC}"]),
        (f"v1,{WHSEC},v1,{OTHER_WHSEC}", [f"v1,{WHSEC}", f"v1,{OTHER_WHSEC}"]),
        (f"{OTHER_WHSEC}, v1,{WHSEC}", [OTHER_WHSEC, f"v1,{WHSEC}"]),
    ],
)
def test_in_a_variable_commas_or_a_json_array_separate_secrets(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str]
) -> None:
    """`v1,whsec_...` is how Supabase shows one secret (standard-webhooks#235); 0.1.0 made two of it."""
    settings = loaded(monkeypatch, SOURCE__API_KEYS=text, SOURCE__VERIFY="github", SOURCE__SECRETS=text)
    source = settings.all_flows["default"].source
    assert texts(source.api_keys) == texts(source.secrets) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"first-key\nother-key\n", ["first-key", "other-key"]),
        (b"first,key", ["first,key"]),
        (b"first-key\r\n\r\nother-key\r\n", ["first-key", "other-key"]),
        (b"\xef\xbb\xbffirst-key\n\n", ["first-key"]),
        (b"\n  first key \t\n", ["first key"]),
        (b"same-key\nsame-key\n", ["same-key"]),
        (f"v1,{WHSEC}\n{OTHER_WHSEC}\n".encode(), [f"v1,{WHSEC}", OTHER_WHSEC]),
    ],
)
def test_in_a_file_each_line_is_one_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    """Reproduced on 0.1.0: two lines were one key that no header can carry, and a comma made two secrets of one."""
    path = tmp_path / "secrets"
    path.write_bytes(content)
    settings = loaded(
        monkeypatch,
        FLOWS__A__SOURCE__API_KEYS_FILE=str(path),
        FLOWS__A__SOURCE__VERIFY="github",
        FLOWS__A__SOURCE__SECRETS_FILE=str(path),
    )
    source = settings.all_flows["a"].source
    assert texts(source.api_keys) == texts(source.secrets) == expected


def test_a_secret_shown_with_its_version_signs_and_verifies_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        SOURCE__VERIFY="standard-webhooks",
        SOURCE__SECRETS=f"v1,{WHSEC},{OTHER_WHSEC}",
        TARGET__SIGNING_SECRETS=f"v1,{WHSEC}",
    )
    flow = settings.all_flows["default"]
    keys = [signing_key(secret) for secret in texts(flow.source.secrets)]
    assert keys == [b"a key of tests, long", b"another key of tests"]
    assert [signing_key(secret) for secret in texts(flow.target.signing_secrets)] == keys[:1]


@pytest.mark.parametrize("field", ["API_KEYS", "SECRETS"])
@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "s3cret-one,", "s3cret-one,,s3cret-two", "[]", '[""]', '["s3cret-one", " "]'),
        *("s3cret", "s3c,s3cret-one", "pa,ss word", '""', "''", '"s3cret-one"', "'s3cret-one'"),
        *('["s3cret-one"', "[s3cret-one]", '["s3cret-one", 7]', "[" * 5000, "s3cret\tone", "s3cret\udcffone"),
    ],
)
def test_a_secret_in_a_variable_that_can_be_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, field: str, text: str
) -> None:
    """Reproduced on 0.1.0: `API_KEYS=` and `docker --env-file` with `API_KEYS=""` (docker/cli#3630) opened the door."""
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, **{f"SOURCE__{field}": text, "SOURCE__VERIFY": "github" if field == "SECRETS" else "none"})
    assert str(raised.value).startswith(f"EVENTFLOW_SOURCE__{field}: ")
    assert "\n" not in str(raised.value)
    assert "s3c" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [b"", b" \r\n\n", b"\xef\xbb\xbf", b'"s3cret-one"', b'["s3cret-one", "s3cret-two"]', b"s3cret-\xff\xfe"],
)
@pytest.mark.parametrize("field", ["SOURCE__API_KEYS", "TARGET__SIGNING_SECRETS"])
def test_a_secret_in_a_file_that_can_be_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str, content: bytes
) -> None:
    """Reproduced on 0.1.0: with an empty API_KEYS_FILE everybody was let in."""
    path = tmp_path / "secrets"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"EVENTFLOW_FLOWS__A__{field}") as raised:
        loaded(monkeypatch, **{f"FLOWS__A__{field}_FILE": str(path)})
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


PLACEHOLDERS = [
    *(
        "${API_KEY}",
        "$API_KEY",
        "$api_key",
        "$(API_KEY)",
        "{{ .Values.apiKey }}",
        "%API_KEY%",
        "<api-key>",
        "[redacted]",
    ),
    *(
        "null",
        "None",
        "undefined",
        "changeme",
        "CHANGE-ME",
        "your-api-key",
        "YOUR_SECRET_KEY",
        "********",
        "xxxxxxxxxxxx",
    ),
    *('""', "''", '"some-key-1"', "'some-key-1'", "\u201csome-key\u201d", '"k1-long-enough","k2-long-enough"'),
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_what_stands_in_place_of_a_secret_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """docker/cli#3630. Reproduced on 0.1.0: `""` by an env file let in a request with an empty key, and `null` and
    `${API_KEY}` became keys.
    """
    path = tmp_path / "secret"
    path.write_text(text)
    for variables in (
        {"SOURCE__API_KEYS": text},
        {"SOURCE__API_KEYS_FILE": str(path)},
        {"SOURCE__API_KEYS": json.dumps(["some-sound-key", text])},
        {"SOURCE__VERIFY": "github", "SOURCE__SECRETS_FILE": str(path)},
        {"SOURCE__VERIFY": "github", "SOURCE__SECRETS": text},
    ):
        with monkeypatch.context() as patch, pytest.raises(SettingsError, match=r"EVENTFLOW_SOURCE__") as raised:
            loaded(patch, **variables)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "key", ["$2b$12$abcdefgh", "s3cret$NAME", "a<b>c-long-key", "null-and-more", "ch@ngeme-1", "100%OFF100%-"]
)
def test_a_key_that_only_resembles_a_placeholder_is_one(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    assert texts(loaded(monkeypatch, SOURCE__API_KEYS=key).all_flows["default"].source.api_keys) == [key]


def test_a_key_alone_on_its_line_of_a_file_may_be_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"abc\ndef")
    source = loaded(monkeypatch, FLOWS__A__SOURCE__API_KEYS_FILE=str(path)).flows["a"].source
    assert [key.get_secret_value() for key in source.api_keys] == ["abc", "def"]


@pytest.mark.parametrize("value", ['""', "[]", '[""]', '["some-key", ""]', '"short"'])
def test_a_secret_in_toml_that_can_be_none_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "some.toml"
    path.write_text(f"[source]\napi_keys = {value}\n")
    with pytest.raises(SettingsError, match="EVENTFLOW_SOURCE__API_KEYS: "):
        load(path)


@pytest.mark.parametrize(
    "variables",
    [
        {"SOURCE__API_KEYS": "schlüssel-eins"},
        {"TARGET__SIGNING_SECRETS": "whsec_" + base64.b64encode(b"15 bytes of key").decode()},
        {"SOURCE__VERIFY": "standard-webhooks", "SOURCE__SECRETS": "v1,whsec_c2VjcmV0"},
        {"TARGET__HEADERS": '{"Authorization": ""}'},
        {"TARGET__HEADERS": ""},
        {"BROKER__URL": ""},
        {"BROKER__USERNAME": "u", "BROKER__PASSWORD": "", "BROKER__URL": "amqp://h/"},
        {"BROKER__USERNAME": "", "BROKER__PASSWORD": "p", "BROKER__URL": "amqp://h/"},
    ],
)
def test_a_secret_that_nothing_can_use_is_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, **variables)
    assert "\n" not in str(raised.value)
