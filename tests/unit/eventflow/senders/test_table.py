"""The table of known senders is consistent in itself, and the settings offer every row of it."""

import re
import tomllib

import pytest
from pydantic import ValidationError

from eventflow.senders.checks import problems_in
from eventflow.senders.reading import read_senders
from eventflow.senders.table import OWN_HMAC, SENDERS
from eventflow.senders.vocabulary import Basic, Ed25519, Header, Hmac, Item, Pointer, Scheme, Sender, Text
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
def test_every_description_can_work(sender: Sender) -> None:
    assert list(problems_in(sender)) == []


def secret_for(scheme: Scheme) -> str:
    forms = {"text": "a secret", "hex": "0f" * 32, "base64": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    match scheme:
        case Hmac(key=form) | Ed25519(key=form):
            return forms.get(form, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        case Basic():
            return "user:password"
        case _:
            return "a secret"


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_the_settings_take_every_sender_by_its_name(sender: Sender) -> None:
    source = {
        "verify": sender.name,
        "secrets": secret_for(sender.authentication[0]),
        "public_url": "https://example.com/events",
    }
    if any(handshake.verify_token is not None for handshake in sender.handshakes):
        source["verify_tokens"] = "a-verify-token"
    settings = Settings.model_validate({"source": source})
    assert settings.sender_of(settings.all_flows["default"].source) == sender


def test_the_settings_describe_an_hmac_of_their_own() -> None:
    source = {
        "verify": OWN_HMAC,
        "secrets": "current-secret",
        "hmac_header": "X-Signature",
        "hmac_encoding": "base64url",
    }
    settings = Settings.model_validate({"source": source})
    sender = settings.sender_of(settings.all_flows["default"].source)
    assert sender is not None
    assert sender.authentication == (Hmac(signature=Header("X-Signature"), encoding="base64url"),)


SIGNED = {"scheme": "hmac", "signature": {"header": "X-Sig"}}
PUBLISHED = {
    "scheme": "certificate",
    "signature": {"header": "S"},
    "certificate": {"header": "C"},
    "signed": "{secret}{body}",
}


@pytest.mark.parametrize(
    ("scheme", "told"),
    [
        ({**SIGNED, "signed": "{bdy}"}, "authentication.0.signed: {bdy} is neither one of"),
        ({**SIGNED, "signed": "{body"}, "authentication.0.signed: { is not part of a {field}"),
        ({**SIGNED, "signed": "{body}[x"}, "a [ is not closed"),
        ({**SIGNED, "signed": "{body}[x]"}, "contains no {field}"),
        ({**SIGNED, "signed": "{method}"}, "signed: it does not contain the body"),
        ({**SIGNED, "signed": "[{body}]"}, "signed: it does not contain the body"),
        ({**SIGNED, "signed": "{timestamp}{body}"}, "timestamp: a place is expected"),
        ({**SIGNED, "timestamp": {"header": "T"}}, "timestamp: the time must be signed"),
        ({**SIGNED, "fields": {"id": {"header": "I"}}}, "fields: id is not in the template"),
        ({**SIGNED, "fields": {"body": {"header": "I"}}}, "fields: body has a meaning of its own"),
        ({**SIGNED, "body_sha256": {"header": "H"}}, "body_sha256: the hash itself must be signed"),
        ({**SIGNED, "signed": "{t}{body}", "fields": {"t": {"item": "t="}}}, "separator: it is needed"),
        ({**SIGNED, "signature": {"header": "X Sig"}}, "signature: the name of a header is expected"),
        ({**SIGNED, "signature": {"pointer": "sig"}}, "signature: a JSON pointer such as"),
        ({**SIGNED, "signature": {"pointer": "/a/*/sig"}}, "signature: a step * is accepted in a token only"),
        ({**PUBLISHED, "hosts": []}, "hosts: at least one host is expected"),
        ({**PUBLISHED, "hosts": ["*"]}, "hosts: '*' is not the name of a host"),
        ({**PUBLISHED, "hosts": ["*.amazonaws.com"]}, "hosts: '*.amazonaws.com' fits hosts of different owners"),
        ({**PUBLISHED, "hosts": ["sns.*.com"]}, "fits hosts of different owners"),
        ({**PUBLISHED, "hosts": ["a.example"], "signed": "{body}"}, "secret: a place for one of the flow's secrets"),
        ({"scheme": "proxied", "header": "X DN"}, "header: the name of a header is expected"),
    ],
)
def test_a_scheme_that_cannot_work_is_refused_at_the_start(scheme: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        read_senders({"acme": {"authentication": scheme}})


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"verify": "square", "secrets": "a-secret-of-ours"}, "EVENTFLOW_SOURCE__PUBLIC_URL is not set: Square signs"),
        ({"verify": "adyen", "secrets": "a-secret-of-ours"}, "EVENTFLOW_SOURCE__SECRETS: hex of at least 16 bytes"),
        ({"verify": "discord", "secrets": "0f" * 31}, "EVENTFLOW_SOURCE__SECRETS: the sender's public key is expected"),
        ({"verify": "basic", "secrets": "a-secret-of-ours"}, "EVENTFLOW_SOURCE__SECRETS: user:password is expected"),
        ({"verify": "svix", "secrets": "whpk_a-secret-of-ours"}, "EVENTFLOW_SOURCE__SECRETS: base64"),
        ({"verify": "proxied", "secrets": "a-secret-of-ours"}, "EVENTFLOW_COLLECTOR__TRUSTED_PROXIES is not set"),
        ({"public_url": "https://example.com/?a"}, "no query and no fragment is accepted"),
    ],
)
def test_settings_that_a_scheme_lacks_are_named_without_a_secret(source: dict[str, str], told: str) -> None:
    proxied = {"proxied": {"authentication": {"scheme": "proxied", "header": "X-Client-DN"}}}
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"source": source, "senders": proxied})
    line = explain(raised.value)
    assert told in line
    assert "of-ours" not in line


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
        ({"authentication": []}, "[senders.acme] authentication: at least one scheme is expected"),
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
