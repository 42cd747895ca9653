"""The store that a URL names."""

from pathlib import Path

import pytest

from eventflow.history.opening import path_of, shown_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/eventflow/history.db", "/var/lib/eventflow/history.db"),
        ("sqlite:///history.db", "history.db"),
        ("sqlite:///100%25.db", "100%25.db"),
    ],
)
def test_three_slashes_begin_a_relative_path_and_four_an_absolute_one(url: str, path: str) -> None:
    assert path_of(url) == Path(path)
    assert shown_url(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ana:secret@db:5432/events?password=secret", "postgresql://ana@db:5432/events"),
        ("postgresql://ana:se@cret@db/events", "postgresql://ana@db/events"),
        ("postgres://db/events", "postgres://db/events"),
        ("postgresql://ana:secret@one:1,two:2/events", "postgresql://ana@one:1,two:2/events"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert path_of(url) is None
    assert shown_url(url) == shown
