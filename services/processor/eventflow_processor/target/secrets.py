"""Secrets in the requests to a target: its answers may repeat them, and the logs must not. Pure."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from urllib.parse import quote

from yarl import URL

from eventflow.network.http_proxy import Proxy

SECRET_MIN_CHARACTERS = 4
PATH_MIN_CHARACTERS = 8
PART_MIN_CHARACTERS = 16
"""Shorter texts are hidden nowhere: they are no secrets, and they are parts of many other words."""

_HEX_OF_URL = re.compile("%[0-9A-F]{2}")

# Both escape characters that JSON allows, so that it can stand in HTML. Tokens in base64 have a plus sign.
_GO_JSON = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})
_DOTNET_JSON = str.maketrans({character: f"\\u{ord(character):04X}" for character in "<>&'+`"})


def secrets_of(
    url: URL, headers: Mapping[str, str], *, literals: Sequence[str] = (), proxy: Proxy | None = None
) -> frozenset[str]:
    """Return the texts that must be hidden in an answer: static headers, and the path and query of the URL.

    Many webhook URLs have a secret in their path, and error pages often show the path. Each text is also returned in
    the forms in which an answer may repeat it.

    Args:
        url: URL of the target.
        headers: The static headers.
        literals: The fixed texts in a path, a query and headers that differ from event to event.
        proxy: The proxy, which may answer too.
    """
    of_proxy = {} if proxy is None or proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
    texts = (*_in_headers({**headers, **of_proxy}), *_in_url(url), *_in_literals(literals))
    return frozenset(form for text in texts for form in forms_of(text))


def forms_of(text: str) -> Iterator[str]:
    """Yield a text as it is, and as programs write it in a URL, in HTML and in JSON."""
    in_url, in_html, in_json = quote(text, safe=""), escape(text), json.dumps(text)[1:-1]
    yield from (text, in_url, in_html, in_json)
    yield _HEX_OF_URL.sub(lambda found: found[0].lower(), in_url)  # .NET
    yield escape(text, quote=False)
    with_numbers = in_html.replace("&#x27;", "&#39;")
    yield from (with_numbers, with_numbers.replace("&quot;", "&#34;").replace("+", "&#43;"))  # PHP, and Go
    yield from (in_json.replace("/", r"\/"), in_json.translate(_GO_JSON))
    yield in_json.translate(_DOTNET_JSON).replace(r"\"", r"\u0022")


def _in_headers(headers: Mapping[str, str]) -> Iterator[str]:
    for value in headers.values():
        scheme, _, token = value.rpartition(" ")  # `Bearer TOKEN`: the token may be repeated alone
        for text in (value, token, *_in_basic_credentials(scheme, token)):
            if len(text) >= SECRET_MIN_CHARACTERS:
                yield text
        yield from _long_parts(value.replace(";", " ").replace("=", " ").split())  # as in a cookie


def _in_basic_credentials(scheme: str, token: str) -> tuple[str, ...]:
    """Return `user:password` and the password, which the target has decoded."""
    if scheme.lower() != "basic":
        return ()
    try:
        credentials = base64.b64decode(token).decode()
    except ValueError:
        return ()
    return credentials, credentials.partition(":")[2]


def _in_url(url: URL) -> Iterator[str]:
    for text in (url.raw_path_qs, url.raw_path, url.path):
        if len(text) >= PATH_MIN_CHARACTERS:
            yield text
    yield from _long_parts(url.path.split("/"))  # the token in a path may be repeated alone
    for text in (url.password or "", *url.query.values()):
        if len(text) >= SECRET_MIN_CHARACTERS:
            yield text


def _in_literals(literals: Sequence[str]) -> Iterator[str]:
    for text in literals:
        if len(text) >= PATH_MIN_CHARACTERS:
            yield text
        yield from _long_parts(re.split("[/?&= ]", text))


def _long_parts(parts: list[str]) -> Iterator[str]:
    return (part for part in parts if len(part) >= PART_MIN_CHARACTERS)
