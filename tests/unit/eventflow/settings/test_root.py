"""All sections together."""

import pytest

from tests.support.settings import loaded


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


def test_only_other_flows_leave_no_default_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(loaded(monkeypatch, FLOWS__A__TARGET__URL="http://a/").all_flows) == {"a"}
