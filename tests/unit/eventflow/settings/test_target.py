"""The section `[target]`."""

import json

import pytest

from eventflow.errors import SettingsError
from tests.support.settings import loaded


@pytest.mark.parametrize("name", ["Content-Length", "TRANSFER-ENCODING", "Expect", "trailer", "Upgrade"])
def test_a_static_header_that_frames_requests_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Reproduced on 0.1.0: `Content-Length: 3` cut bodies off, and `Expect` sent none; both counted as delivered."""
    with pytest.raises(SettingsError, match=f"EVENTFLOW_TARGET__HEADERS: {name} "):
        loaded(monkeypatch, TARGET__HEADERS=json.dumps({name: "3"}))


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
