"""The table of known senders is consistent in itself, and the settings offer every row of it."""

from string import Formatter

import pytest

from eventflow.senders.table import NO_SENDER, SENDERS
from eventflow.senders.vocabulary import Sender
from eventflow.settings.source import SourceSettings


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_a_signature_covers_the_body_and_has_a_place_for_each_of_its_fields(sender: Sender) -> None:
    if sender.signature is None:
        return
    fields = {field for _, field, _, _ in Formatter().parse(sender.signature.signed) if field is not None}
    assert "body" in fields
    assert fields <= {"body", "timestamp", "id"}
    assert ("timestamp" in fields) is (sender.signature.timestamp is not None)
    assert ("id" in fields) is (sender.signature.id is not None)


def test_the_settings_offer_every_sender_by_its_name() -> None:
    offered = SourceSettings.model_json_schema()["properties"]["verify"]["enum"]
    assert offered == [*SENDERS, NO_SENDER]
    for name in SENDERS:
        settings = {"verify": name, "secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hmac_header": "X-Signature"}
        assert SourceSettings.model_validate(settings).verify == name
