"""Secrets as people write them: several in a variable, in a file, or in an array. Pure; no error shows any of them.

* In a variable several are separated by commas, or given as a JSON array.
* In a file each line is one secret, and a comma belongs to it.

White space around a secret is layout, and a secret that is given twice counts once.
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
"""Words for nothing and for anything, `$NAME`, `%NAME%`, `<api-key>`, `[redacted]`, `********`."""

_VERSION = "v1"
_VERSIONED = "whsec_"
"""`v1,whsec_...` is one secret: some senders show it with the version of the signatures that it makes."""


def secrets_in(value: object) -> object:
    """Split a text into secrets; anything else than a text passes as it is.

    Raises:
        ValueError: There is none, or an empty one, or a JSON array is begun that is none.
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
        return found  # the default, not written by a user
    if not all(isinstance(secret, str) and secret.strip() for secret in found) or not found:
        raise ValueError("it is named and has an empty secret; leave the name out where there is none")
    return list(dict.fromkeys(found))


def keys_in(value: object) -> object:
    """Split a text into keys as `secrets_in` does.

    A key on a line of its own, in a file, is complete, even if it is short. A short one out of a variable may be
    half of a key with a comma in it.

    Raises:
        ValueError: As `secrets_in`, or a key is too short and not from a file.
    """
    keys = secrets_in(value)
    if isinstance(keys, list) and not isinstance(value, FileText):
        for key in keys:
            _check_length(key)
    return keys


def urls_in(value: object) -> object:
    """Split a text into URLs: separated by commas, by line ends, or a JSON array; anything else passes as it is.

    Raises:
        ValueError: There is none, or a JSON array is begun that is none.
    """
    urls = value
    if isinstance(value, str):
        is_array = value.lstrip().startswith("[")
        urls = _json_array(value) if is_array else [part.strip() for part in _URL_END.split(value) if part.strip()]
    if not urls:
        raise ValueError("it is named and empty; leave the name out for the default")
    return urls


def check_secret(secret: str) -> None:
    """Check what holds for every secret.

    Raises:
        ValueError: It is too short to be one, or not a text, or still in the quotes of the place that it came from.
    """
    _check_length(secret)
    _check_text(secret)


def _check_length(secret: str) -> None:
    if len(secret) < MIN_CHARACTERS:
        raise ValueError(f"a secret has at least {MIN_CHARACTERS} characters; in a variable commas separate secrets")


def _check_text(secret: str) -> None:
    if not secret.isprintable():
        raise ValueError("a secret is text of one line without control characters")
    check_literal(secret)
    if secret.startswith('["') and secret.endswith('"]'):
        raise ValueError("no JSON array is expected in a file, but each secret on a line, without quotes")
    if _PLACEHOLDER.fullmatch(secret):
        raise ValueError("it stands in place of a secret, such as null, $API_KEY or <api-key>: the secret is expected")


def check_api_key(key: str) -> None:
    """Check what holds for a secret that is sent in a header.

    Raises:
        ValueError: No header can carry it, or it is still in the quotes of the place that it came from.
    """
    _check_text(key)
    if not key.isascii():
        raise ValueError("a key is sent in a header, so it is made of ASCII characters")


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
