"""Checks of the values in `[target]` that form requests and their connections: URLs, headers, files. Pure."""

import json
from collections.abc import Mapping

from pydantic import SecretStr

from eventflow.attribute_template import path_template_of, template_of
from eventflow.http_token import is_token
from eventflow.network.host import check_http_url
from eventflow.settings.value_text import check_expanded, check_path

_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding", "trailer", "expect", "upgrade"})
"""With one of these set to a fixed value, the target may receive a cut body or none, and still answer with success."""

_OUR_HEADERS = frozenset(
    {
        *("host", "content-type", "content-encoding", "idempotency-key", "eventflow-attempt", "traceparent"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
)
"""Headers that have a value of their own in each request already, beside those that begin with `ce-`."""


def checked_target_url(value: str) -> str:
    """Return the URL of a target, which may have attributes in braces.

    Raises:
        ValueError: It cannot be used.
    """
    # Before the host is checked: of a brace in it, that check would only report that it is no name.
    path_template_of(value)
    return checked_url(value)


def checked_url(value: str) -> str:
    """Return a URL for requests.

    Raises:
        ValueError: It cannot be used.
    """
    try:
        check_http_url(value)
    except ValueError as error:
        advice = "; set EVENTFLOW_TARGET__HEADERS instead" if "password" in str(error) else ""
        raise ValueError(f"{error}{advice}") from None
    return value


def checked_path(value: str) -> str:
    """Return the path of a file.

    Raises:
        ValueError: It is not an absolute path.
    """
    check_path(value)
    return value


def json_object(value: object) -> object:
    """Parse the text of a variable as a JSON object; a table from TOML passes unchanged.

    Raises:
        ValueError: It is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('a JSON object of strings is expected, such as {"Authorization": "Bearer ..."}') from None


def checked_headers(value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    """Return headers, whose values may have attributes in braces.

    Raises:
        ValueError: One of them cannot be sent, or would change the end of requests.
    """
    for name, secret in value.items():
        _check_header(name, secret.get_secret_value())
    return value


def _check_header(name: str, value: str) -> None:
    check_expanded(value)
    if not is_token(name):
        raise ValueError("header names are made of letters, digits and hyphens")
    if name.lower() in _FRAMING_HEADERS:
        raise ValueError(f"{name} cannot be the same for every event: it decides where a request ends")
    if not (value.strip() and value.isascii() and value.isprintable()):
        raise ValueError("header values are printable ASCII, and not empty")
    is_ours = name.lower() in _OUR_HEADERS or name.lower().startswith("ce-")
    if template_of(value).names and is_ours:
        raise ValueError(f"{name} takes no attributes in braces: each request has it already, or must not change it")
