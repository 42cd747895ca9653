"""Settings: where they come from, and what is said when one is wrong."""

import base64
import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from yarl import URL

from eventflow.errors import SettingsError
from eventflow.settings.load import broker_urls_in, load
from eventflow.settings.roles import Role, is_used
from eventflow.settings.root import Settings
from eventflow.signing import signing_key
from eventflow_collector.guards import require_safe_exposure
from eventflow_processor.guards import require_target_urls


def loaded(monkeypatch: pytest.MonkeyPatch, *, role: Role | None = None, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
    return load(role=role)


def texts(secrets: tuple[SecretStr, ...]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


WHSEC = "whsec_" + base64.b64encode(b"a key of tests, long").decode()
OTHER_WHSEC = "whsec_" + base64.b64encode(b"another key of tests").decode()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        BROKER__URL="amqp://a:b@one/, amqps://a:b@two/v",
        TARGET__URL="http://target/",
        TARGET__RATE_PER_S="2.5",
        TARGET__HEADERS='{"Authorization": "Bearer x"}',
        TARGET__RETRY_DELAYS_S="1, 5",
        SOURCE__API_KEYS="first-key,other-key",
        FLOWS__ORDERS__TARGET__URL="https://orders/",
    )
    assert settings.broker.urls == ("amqp://a:b@one/", "amqps://a:b@two/v")
    assert set(settings.all_flows) == {"default", "orders"}
    target = settings.all_flows["default"].target
    assert (target.rate_per_s, target.retry_delays_s) == (2.5, (1, 5))
    assert target.headers["Authorization"].get_secret_value() == "Bearer x"
    assert [key.get_secret_value() for key in settings.all_flows["default"].source.api_keys] == [
        "first-key",
        "other-key",
    ]


def test_environment_overrides_the_toml_file_field_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eventflow.toml").write_text(
        '[target]\nurl = "http://file/"\nrate_per_s = 5\n[flows.orders.source]\napi_keys = ["key-of-orders"]\n'
    )
    settings = loaded(monkeypatch, TARGET__RATE_PER_S="7")
    assert settings.all_flows["default"].target.url == "http://file/"
    assert settings.all_flows["default"].target.rate_per_s == 7
    assert len(settings.all_flows["orders"].source.api_keys) == 1


def test_a_secret_is_read_from_the_file_that_its_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text("key-one-\n,key,two\n")
    settings = loaded(monkeypatch, SOURCE__API_KEYS_FILE=str(tmp_path / "keys"))
    assert [key.get_secret_value() for key in settings.all_flows["default"].source.api_keys] == ["key-one-", ",key,two"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TARGET__RATE_PER_S": "fast"}, ("EVENTFLOW_TARGET__RATE_PER_S", "'fast'", "number")),
        ({"TARGET__RATE_PER_S": "0"}, ("EVENTFLOW_TARGET__RATE_PER_S", "'0'", "greater than or equal to 0.00001")),
        ({"TARGET__RATE_PER_S": "inf"}, ("EVENTFLOW_TARGET__RATE_PER_S", "finite")),
        ({"TARGET__RETRY_DELAYS_S": "5,1"}, ("EVENTFLOW_TARGET__RETRY_DELAYS_S", "grow")),
        ({"TARGET__URL": "ftp://x"}, ("EVENTFLOW_TARGET__URL", "http://")),
        ({"COLLECTOR__PORT": "70000"}, ("EVENTFLOW_COLLECTOR__PORT", "'70000'", "65535")),
        ({"COLLECTOR__PROT": "1"}, ("EVENTFLOW_COLLECTOR__PROT", "not a setting")),
        ({"NONSENSE": "1"}, ("EVENTFLOW_NONSENSE", "not a setting")),
        ({"SOURCE": "x"}, ("EVENTFLOW_SOURCE",)),
        ({"FLOWS__ORDERS__TARGET__COST": "-1"}, ("EVENTFLOW_FLOWS__ORDERS__TARGET__COST", "'-1'")),
        ({"FLOWS__BAD.NAME__TARGET__COST": "1"}, ("bad.name", "a-z")),
        ({"PROCESSOR__FLOWS": "nobody"}, ("nobody", "default")),
        ({"TELEMETRY__LOG_LEVEL": "loud"}, ("EVENTFLOW_TELEMETRY__LOG_LEVEL", "'loud'", "'info'")),
        ({"CONFIG": "/nowhere.toml"}, ("EVENTFLOW_CONFIG", "/nowhere.toml", "no such file")),
        ({"SOURCE__API_KEYS_FILE": "/nowhere"}, ("EVENTFLOW_SOURCE__API_KEYS_FILE", "/nowhere")),
        (
            {"SOURCE__VERIFY": "gitlab", "SOURCE__SECRETS": "some-secret"},
            ("EVENTFLOW_SOURCE__VERIFY", "'gitlab'", "'github'"),
        ),
        ({"SOURCE__VERIFY": "github"}, ("EVENTFLOW_SOURCE__SECRETS", "verify is github")),
        ({"SOURCE__SECRETS": "some-secret"}, ("EVENTFLOW_SOURCE__SECRETS", "verify is none")),
        (
            {"SOURCE__VERIFY": "hmac", "SOURCE__SECRETS": "some-secret"},
            ("EVENTFLOW_SOURCE__HMAC_HEADER", "verify is hmac"),
        ),
        ({"SOURCE__HMAC_HEADER": "X Y"}, ("EVENTFLOW_SOURCE__HMAC_HEADER", "'X Y'", "letters")),
        ({"TARGET__FORMAT": "xml"}, ("EVENTFLOW_TARGET__FORMAT", "'xml'", "'cloudevents'")),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_with_its_value_and_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, **variables)
    text = str(raised.value)
    assert "\n" not in text
    for part in expected:
        assert part in text


@pytest.mark.parametrize(
    "variables",
    [
        {"BROKER__URL": "http://user:s3cret@host/"},
        {"TARGET__HEADERS": '{"Authorization": "s3cret\\u0007"}'},
        {"TARGET__HEADERS": "s3cret"},
        {"TARGET__URL": "http://user:s3cret@host/"},
        {"SOURCE__SECRETS": "s3cret"},
        {"SOURCE__VERIFY": "standard-webhooks", "SOURCE__SECRETS": "whsec_s3cret!"},
        {"TARGET__SIGNING_SECRETS": "whsec_s3cret!"},
    ],
)
def test_a_wrong_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, **variables)
    assert "s3cret" not in str(raised.value)


def test_secrets_have_a_redacting_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        BROKER__URL="amqp://u:s3cret@host/",
        SOURCE__API_KEYS="s3cret-key",
        SOURCE__VERIFY="github",
        SOURCE__SECRETS="s3cret-one",
        TARGET__SIGNING_SECRETS="whsec_s3cret0000000000000000",
        TARGET__HEADERS='{"Authorization": "s3cret"}',
    )
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize("secrets", ['api_keys = [""]', 'verify = "github"\nsecrets = ["k", ""]'])
def test_an_empty_secret_is_refused_since_whoever_sends_nothing_would_have_it(tmp_path: Path, secrets: str) -> None:
    path = tmp_path / "empty.toml"
    path.write_text(f"[source]\n{secrets}\n")
    with pytest.raises(SettingsError, match="EVENTFLOW_SOURCE__"):
        load(path)


def test_only_other_flows_leave_no_default_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(loaded(monkeypatch, FLOWS__A__TARGET__URL="http://a/").all_flows) == {"a"}


def test_the_processor_needs_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_FLOWS__A__TARGET__URL"):
        require_target_urls(loaded(monkeypatch, FLOWS__A__SOURCE__API_KEYS="some-key"))


@pytest.mark.parametrize(
    ("variables", "is_safe"),
    [
        ({}, False),
        ({"COLLECTOR__HOST": "::1"}, False),
        ({"COLLECTOR__HOST": "0.0.0.0"}, False),
        ({"SOURCE__API_KEYS": "some-key"}, True),
        ({"SOURCE__VERIFY": "github", "SOURCE__SECRETS": "some-secret"}, True),
        ({"SOURCE__ALLOW_UNAUTHENTICATED": "true"}, True),
        ({"SOURCE__API_KEYS": "some-key", "FLOWS__OPEN__TARGET__URL": "http://x/"}, False),
    ],
)
def test_a_flow_without_any_authentication_is_refused_on_loopback_too(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_safe: bool
) -> None:
    """On 0.1.0 loopback was taken for safe, and a proxy that stood there passed on what came from outside."""
    settings = loaded(monkeypatch, **variables)
    if is_safe:
        require_safe_exposure(settings)
    else:
        with pytest.raises(SettingsError, match="ALLOW_UNAUTHENTICATED"):
            require_safe_exposure(settings)


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


def test_a_byte_order_mark_is_no_part_of_a_secret_or_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two files of an editor on Windows were joined: a mark stood in the middle, and the key was refused."""
    keys, url = tmp_path / "keys", tmp_path / "url"
    keys.write_bytes(b"\xef\xbb\xbffirst-key\r\n\xef\xbb\xbfother-key\r\n")
    url.write_bytes(b"\xef\xbb\xbfhttp://target/\r\n")
    flow = loaded(monkeypatch, SOURCE__API_KEYS_FILE=str(keys), TARGET__URL_FILE=str(url)).all_flows["default"]
    assert (texts(flow.source.api_keys), flow.target.url) == (["first-key", "other-key"], "http://target/")


@pytest.mark.parametrize(
    "variables",
    [
        {"TARGET__URL": '"http://target/"'},
        {"TARGET__URL": "http://${HOST}/"},
        {"TARGET__URL": "http://$HOST/"},
        {"TARGET__RATE_PER_S": '"5"'},
        {"TARGET__RATE_PER_S": ""},
        {"TARGET__RATE_PER_S": "auto"},
        {"TARGET__FORMAT": "'raw'"},
        {"TARGET__HEADERS": '\'{"Authorization": "Bearer x"}\''},
        {"TARGET__HEADERS": '{"Authorization": "Bearer ${TOKEN}"}'},
        {"BROKER__URL": '"amqp://h/"'},
        {"BROKER__URL": "amqp://u:${PASSWORD}@h/"},
        {"BROKER__MANAGEMENT_URL": "'http://h:15672'"},
        {"BROKER__MANAGEMENT_URL": "http://.h:15672"},
        {"BROKER__USERNAME": "u", "BROKER__PASSWORD": "$(PASSWORD)", "BROKER__URL": "amqp://h/"},
        {"COLLECTOR__HOST": '"0.0.0.0"'},
        {"COLLECTOR__HOST": ""},
        {"COLLECTOR__HOST": "0.0.0.0:8080"},
        {"COLLECTOR__ADMIN_HOST": "$(POD_IP)"},
        {"COLLECTOR__SPOOL_DIR": '"/vol"'},
        {"COLLECTOR__SPOOL_DIR": "spool"},
        {"COLLECTOR__SPOOL_DIR": "~/spool"},
        {"PROCESSOR__FLOWS": ""},
        {"SOURCE__ALLOW_UNAUTHENTICATED": '"true"'},
    ],
)
@pytest.mark.parametrize("place", ["variable", "toml"])
def test_a_value_that_is_not_what_was_meant_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], place: str
) -> None:
    """docker/cli#4665: an env file keeps quotes and expands nothing. An empty rate was an unlimited one on 0.1.0."""
    if place == "toml":
        (tmp_path / "eventflow.toml").write_text(
            "\n".join(f"{name.lower().replace('__', '.')} = {json.dumps(text)}" for name, text in variables.items())
        )
        variables = {}
    with pytest.raises(SettingsError, match=r"^EVENTFLOW_") as raised:
        loaded(monkeypatch, **variables)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        'target.headers = {Authorization = "Bearer ${TOKEN}"}',
        'broker.url = ["amqp://good/", "amqp://u:${PASSWORD}@h/"]',
        'source.api_keys = ["${API_KEY}"]',
    ],
)
def test_parts_of_a_value_in_toml_are_looked_at_one_by_one(tmp_path: Path, line: str) -> None:
    (tmp_path / "some.toml").write_text(line)
    with pytest.raises(SettingsError, match=r"quotes|not expanded"):
        load(tmp_path / "some.toml")


@pytest.mark.parametrize("name", ["Content-Length", "TRANSFER-ENCODING", "Expect", "trailer", "Upgrade"])
def test_a_static_header_that_frames_requests_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Reproduced on 0.1.0: `Content-Length: 3` cut bodies off, and `Expect` sent none; both counted as delivered."""
    with pytest.raises(SettingsError, match=f"EVENTFLOW_TARGET__HEADERS: {name} "):
        loaded(monkeypatch, TARGET__HEADERS=json.dumps({name: "3"}))


def test_white_space_around_a_value_is_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An env file with the line ends of Windows."""
    settings = loaded(
        monkeypatch,
        COLLECTOR__HOST=" [::] ",
        COLLECTOR__SPOOL_DIR=" /vol\r",
        SOURCE__ALLOW_UNAUTHENTICATED="TRUE\r",
        TARGET__FORMAT="raw\r",
        TARGET__RATE_PER_S=" 5\r",
        TARGET__URL="http://target/\r",
    )
    assert (settings.collector.host, settings.collector.spool_dir) == ("::", Path("/vol"))
    flow = settings.all_flows["default"]
    assert flow.source.allow_unauthenticated
    assert (flow.target.format, flow.target.rate_per_s, flow.target.url) == ("raw", 5, "http://target/")


@pytest.mark.parametrize(
    "url",
    ["https://hooks.example:99999/T0KEN?k=T0KEN", '"https://hooks.example/T0KEN"', "https://hooks.example/T0KEN x"],
)
def test_an_error_shows_of_a_target_only_its_host(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """docker/cli#4665. Reproduced on 0.1.0: the whole URL, in whose path a token stood."""
    with pytest.raises(SettingsError, match=r"hooks\.example") as raised:
        loaded(monkeypatch, TARGET__URL=url)
    assert "T0KEN" not in str(raised.value)


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


@pytest.mark.parametrize("text", ["some-key", ""])
def test_a_variable_and_its_file_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "keys").write_text("other-key\n")
    with pytest.raises(
        SettingsError, match="EVENTFLOW_SOURCE__API_KEYS and EVENTFLOW_SOURCE__API_KEYS_FILE are both set"
    ):
        loaded(monkeypatch, SOURCE__API_KEYS=text, SOURCE__API_KEYS_FILE=str(tmp_path / "keys"))


def test_a_section_that_is_given_as_one_text_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reproduced on 0.1.0: `EVENTFLOW_BROKER=amqp://...`, a name written wrongly, was printed with its password."""
    for name in ("BROKER", "SOURCE", "TARGET", "FLOWS", "FLOWS__A", "FLOWS__A__TARGET"):
        with (
            monkeypatch.context() as patch,
            pytest.raises(SettingsError, match=f"^EVENTFLOW_{name}: .*section") as raised,
        ):
            loaded(patch, **{name: "amqp://u:s3cret/@host/s3cret"})
        assert "s3cret" not in str(raised.value)


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


@pytest.mark.parametrize(
    "url",
    [
        *("http://user:s3cret/s3cret@host/", "http://user:s3@cret@host/", "http://user:s3cret\uff20x@host/"),
        *("http://user:s3[cret@host/", "http://host:99999/", "http://host:0/", "http://host:port/"),
    ],
)
def test_a_wrong_target_url_shows_no_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__URL") as raised:
        loaded(monkeypatch, TARGET__URL=url)
    assert "s3" not in str(raised.value)
    assert "cret" not in str(raised.value)


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


def test_a_program_that_finds_itself_a_broker_reads_the_urls_in_an_environment(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://h/\n")
    assert broker_urls_in({"EVENTFLOW_BROKER__URL": ""}) == ()
    named = {
        "EVENTFLOW_BROKER__URL_FILE": str(tmp_path / "url"),
        "EVENTFLOW_BROKER__USERNAME": "u",
        "EVENTFLOW_BROKER__PASSWORD": "p/",
        "EVENTFLOW_SOURCE__API_KEYS_FILE": "/nowhere",
    }
    assert broker_urls_in(named) == ("amqp://u:p%2F@h/",)


COLLECTORS = {
    "SOURCE__VERIFY": "github",
    "FLOWS__A__SOURCE__SECRETS_FILE": "/nowhere",
    "FLOWS__A__SOURCE__API_KEYS": "",
    "COLLECTOR__PORT": "none",
}
PROCESSORS = {
    "TARGET__HEADERS_FILE": "/nowhere",
    "TARGET__SIGNING_SECRETS": "short",
    "FLOWS__A__TARGET__URL": "none",
    "PROCESSOR__FLOWS": "unknown",
}


@pytest.mark.parametrize(
    ("role", "of_others", "own"),
    [(Role.COLLECTOR, PROCESSORS, COLLECTORS), (Role.PROCESSOR, COLLECTORS, PROCESSORS)],
)
def test_a_role_needs_and_checks_only_the_settings_that_it_uses(
    monkeypatch: pytest.MonkeyPatch, role: Role, of_others: dict[str, str], own: dict[str, str]
) -> None:
    """Reproduced on 0.1.0: a processor without every sender's secret ended with status 78."""
    for name, value in of_others.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
    assert set(load(role=role).all_flows) == {"default", "a"}
    with pytest.raises(SettingsError):
        load()
    for name, value in own.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
        with pytest.raises(SettingsError):
            load(role=role)
        monkeypatch.delenv(f"EVENTFLOW_{name}")


def test_an_operator_needs_no_secret_of_the_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "eventflow.toml").write_text(
        '[source]\nverify = "github"\napi_keys = []\n[target]\nsigning_secrets = []\n'
    )
    settings = loaded(monkeypatch, TARGET__HEADERS_FILE="/nowhere", TARGET__RATE_PER_S="7", role=Role.OPERATOR)
    assert settings.all_flows["default"].target.rate_per_s == 7
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__RATE_PER_S"):
        loaded(monkeypatch, TARGET__RATE_PER_S="none", role=Role.OPERATOR)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "name", ["SOURCE__API_KEY", "TARGET__HEADERS_FILES", "COLLECTOR__PROT", "FLOWS__A__SOURCE__KEY"]
)
def test_a_name_that_is_none_is_an_error_in_every_role(monkeypatch: pytest.MonkeyPatch, role: Role, name: str) -> None:
    with pytest.raises(SettingsError, match=f"EVENTFLOW_{name} .* is not a setting"):
        loaded(monkeypatch, role=role, **{name: "any"})


def test_services_use_no_setting_that_their_role_leaves_at_its_default() -> None:
    services = Path(__file__).parents[4] / "services"
    for role, others in ((Role.COLLECTOR, ("processor", "target")), (Role.PROCESSOR, ("collector", "source"))):
        code = "\n".join(path.read_text() for path in (services / role).glob("*.py"))
        for section in others:
            used = set(re.findall(rf"(?:settings|flow)\.{section}\.(\w+)", code))
            assert {field for field in used if not is_used(role, section, field)} == set()
