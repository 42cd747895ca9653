"""The table of known senders is consistent in itself, and the settings offer every row of it."""

import tomllib
from string import Formatter

import pytest
from pydantic import ValidationError

from eventflow.senders.reading import read_senders
from eventflow.senders.table import OWN_HMAC, SENDERS
from eventflow.senders.vocabulary import Header, Hmac, Item, Pointer, Sender, Signed, Text
from eventflow.settings.errors import explain
from eventflow.settings.root import Settings

ACME = """
[acme]
id = { header = "Acme-Id" }
type = [{ pointer = "/kind" }, { parts = [{ header = "A" }, { header = "B" }], separator = "." }]

[acme.authentication]
scheme = "hmac"
signature = { header = "Acme-Signature" }
separator = ","
prefix = "v1="
signed = "{timestamp}.{body}"
timestamp = { item = "t=" }
"""


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_a_signature_covers_the_body_and_has_a_place_for_each_of_its_fields(sender: Sender) -> None:
    for scheme in sender.authentication:
        if isinstance(scheme, Signed):
            fields = {field for _, field, _, _ in Formatter().parse(scheme.signed) if field is not None}
            assert "body" in fields
            assert fields - {"body"} == {*scheme.fields, *(() if scheme.timestamp is None else ("timestamp",))}


@pytest.mark.parametrize("name", [*SENDERS, OWN_HMAC])
def test_the_settings_take_every_sender_by_its_name(name: str) -> None:
    source = {"verify": name, "secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hmac_header": "X-Signature"}
    settings = Settings.model_validate({"source": source})
    sender = settings.sender_of(settings.all_flows["default"].source)
    assert sender is not None
    assert sender.name == name


def test_an_operator_describes_a_sender_in_the_same_words() -> None:
    described = read_senders(tomllib.loads(ACME))["acme"]
    assert described == Sender(
        name="acme",
        title="acme",
        authentication=(
            Hmac(
                signature=Header("Acme-Signature"),
                signed="{timestamp}.{body}",
                timestamp=Item("t="),
                separator=",",
                prefix="v1=",
            ),
        ),
        id=(Text(parts=(Header("Acme-Id"),)),),
        type=(Text(parts=(Pointer("/kind"),)), Text(parts=(Header("A"), Header("B")), separator=".")),
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": {"headr": "X"}}, "[senders.acme] id.0.parts: Field required"),
        ({"authentication": {"scheme": "hmc"}}, "'hmac', 'ed25519', 'certificate', 'token', 'basic', 'proxied'"),
        (
            {"authentication": {"scheme": "token", "token": {"header": "X", "query": "y"}}},
            "Unexpected keyword argument",
        ),
        ({"nme": "x"}, "[senders.acme] nme: Unexpected keyword argument"),
    ],
)
def test_a_wrong_word_is_named(change: dict[str, object], told: str) -> None:
    table = {"authentication": {"scheme": "basic"}, **change}
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"senders": {"acme": table}})
    assert told in explain(raised.value)


@pytest.mark.parametrize("name", ["github", "hmac", "none"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="this name is taken"):
        read_senders({name: {"authentication": {"scheme": "basic"}}})


def test_the_name_of_an_unknown_sender_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"flows": {"a": {"source": {"verify": "githb", "secrets": "0123456789"}}}})
    line = explain(raised.value)
    assert line.startswith(
        "EVENTFLOW_FLOWS__A__SOURCE__VERIFY = 'githb': one of these is expected: 'standard-webhooks'"
    )


HMAC = {"scheme": "hmac", "signature": {"header": "A"}}
PUBLIC = {"scheme": "ed25519", "signature": {"header": "B"}}
TOKEN = {"scheme": "token", "token": {"header": "C"}}


@pytest.mark.parametrize(
    ("schemes", "is_sound"),
    [
        ([HMAC, TOKEN], True),
        ([PUBLIC, PUBLIC], True),
        ([PUBLIC, HMAC], False),
        ([TOKEN, PUBLIC], False),
        ([{**PUBLIC, "key": "whpk"}, HMAC], False),
        ([{**PUBLIC, "key": "whpk"}, TOKEN], False),
        ([{**PUBLIC, "key": "whpk"}, {"scheme": "basic"}], False),
        ([PUBLIC, {**HMAC, "key": "hex"}], False),
        ([{**PUBLIC, "key": "base64"}, {**HMAC, "key": "whsec"}], False),
        ([{**PUBLIC, "key": "whpk"}, {**HMAC, "key": "whsec"}], True),
        ([{**PUBLIC, "key": "whpk"}, {**HMAC, "key": "hex"}], True),
    ],
)
def test_no_scheme_accepts_the_public_key_of_another_one_as_its_secret(
    schemes: list[dict[str, object]], is_sound: bool
) -> None:
    tables = {"acme": {"authentication": schemes}}
    if is_sound:
        read_senders(tables)
    else:
        with pytest.raises(ValueError, match="public"):
            read_senders(tables)
