"""Secrets as written: several in a variable, in a file, or in an array. Pure; no error shows any of them.

* In a variable several are separated by commas, or written as a JSON array.
* In a file each line is one secret, and a comma is part of it.

White space around a secret is ignored, and a secret that appears twice counts once.
"""

import json
import re
from contextlib import suppress

from eventflow.settings.value_text import FileText, check_literal

MIN_CHARACTERS = 8
_LINE_END = re.compile(r"\r\n|\r|\n")
_URL_END = re.compile(r"[,\r\n]")
_PLACEHOLDER = re.compile(
    r"(?i:null|none|nil|undefined|change[-_]?me|your[-_ ][a-z_ -]*(?:key|secret|token|password))|"
    r"\$(?:[A-Z_][A-Z0-9_]*|[a-z_][a-z0-9_]*)|%[A-Z_][A-Z0-9_]*%|<.*>|\[.*\]|(.)\1*"
)
"""Texts in place of a secret: `null`, `changeme`, `$NAME`, `%NAME%`, `<api-key>`, `[redacted]`, `********`."""

_VERSION = "v1"
_VERSIONED = "whsec_"
"""`v1,whsec_...` is one secret: some senders display it after the version of its signatures."""


def secrets_in(value: object) -> object:
    """Split a text into secrets; any other value passes unchanged.

    Raises:
        ValueError: There is no secret, or an empty one, or the text begins like a JSON array and is not one.
    """
    match value:
        case FileText():
            found: object = [line.strip() for line in _LINE_END.split(value) if line.strip()]
        case str() if value.lstrip().startswith("["):
            found = _json_array(value)
        case str():
            found = _split_at_commas(value)
        case _:
            found = value
    if not isinstance(found, list):
        return found  # not a list: pydantic reports its type
    if not all(isinstance(secret, str) and secret.strip() for secret in found) or not found:
        raise ValueError("it is set and has an empty secret; leave it unset if there is none")
    return list(dict.fromkeys(found))


def keys_in(value: object) -> object:
    """Split a text into keys as `secrets_in` does.

    A short key in a variable may be half of a key that contains a comma, so it is an error. A key in a file has its own
    line and is complete, even if it is short.

    Raises:
        ValueError: As in `secrets_in`, or a key is too short and not from a file.
    """
    keys = secrets_in(value)
    if isinstance(keys, list) and not isinstance(value, FileText):
        for key in keys:
            _check_length(key)
    return keys


def urls_in(value: object) -> object:
    """Split a text into URLs, at commas and line ends or as a JSON array; any other value passes unchanged.

    Raises:
        ValueError: There is no URL, or the text begins like a JSON array and is not one.
    """
    urls = value
    if isinstance(value, str):
        is_array = value.lstrip().startswith("[")
        urls = _json_array(value) if is_array else [part.strip() for part in _URL_END.split(value) if part.strip()]
    if not urls:
        raise ValueError("it is set and empty; leave it unset for the default")
    return urls


def check_secret(secret: str) -> None:
    """Check the rules for every secret.

    Raises:
        ValueError: It is too short, is not one line of text, still has quotes around it, or is a placeholder.
    """
    _check_length(secret)
    _check_text(secret)


def _check_length(secret: str) -> None:
    if len(secret) < MIN_CHARACTERS:
        raise ValueError(f"a secret has at least {MIN_CHARACTERS} characters; in a variable commas separate secrets")


def _check_text(secret: str) -> None:
    if not secret.isprintable():
        raise ValueError("a secret is one line of text without control characters")
    check_literal(secret)
    if secret.startswith('["') and secret.endswith('"]'):
        raise ValueError("in a file, each secret stands on its own line without quotes; a JSON array is not accepted")
    if _PLACEHOLDER.fullmatch(secret):
        raise ValueError("it is a placeholder, such as null, $API_KEY or <api-key>: the secret itself is expected")


def check_api_key(key: str) -> None:
    """Check the rules for a key that is sent in a header. It may be short.

    Raises:
        ValueError: A header cannot carry it, it still has quotes around it, or it is a placeholder.
    """
    _check_text(key)
    if not key.isascii():
        raise ValueError("a key is sent in a header, so it consists of ASCII characters")


def _json_array(text: str) -> list[object]:
    with suppress(ValueError, RecursionError):
        match json.loads(text):
            case list() as array:
                return array
    raise ValueError('it begins with [, so a JSON array of strings is expected, such as ["first", "second"]')


def _split_at_commas(text: str) -> list[object]:
    secrets: list[object] = []
    for part in map(str.strip, text.split(",")):
        if part.startswith(_VERSIONED) and secrets and secrets[-1] == _VERSION:
            secrets[-1] = f"{_VERSION},{part}"
        else:
            secrets.append(part)
    return secrets
