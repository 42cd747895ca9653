"""Secrets in the requests to a target: its answers may repeat them, and the logs must not. Pure."""

from collections.abc import Iterator, Mapping

from yarl import URL

SECRET_MIN_CHARACTERS = 4
PATH_MIN_CHARACTERS = 8
"""Shorter texts are hidden nowhere: they are no secrets, and they are parts of many other words."""


def secrets_of(url: URL, headers: Mapping[str, str]) -> frozenset[str]:
    """Return the texts that must be hidden in an answer: static headers, and the path and query of the URL.

    Many webhook URLs have a secret in their path, and error pages often show the path.
    """
    return frozenset((*_in_headers(headers), *_in_url(url)))


def _in_headers(headers: Mapping[str, str]) -> Iterator[str]:
    for value in headers.values():
        for text in (value, value.rpartition(" ")[2]):  # `Bearer TOKEN`: the token may be repeated alone
            if len(text) >= SECRET_MIN_CHARACTERS:
                yield text


def _in_url(url: URL) -> Iterator[str]:
    for text in (url.raw_path_qs, url.raw_path, url.path):
        if len(text) >= PATH_MIN_CHARACTERS:
            yield text
    for text in (url.password or "", *url.query.values()):
        if len(text) >= SECRET_MIN_CHARACTERS:
            yield text
