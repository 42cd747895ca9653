"""Data of released versions (`tests/fixtures`), read for tests."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pamqp.commands import Basic
from pamqp.header import ContentHeader

FIXTURES = Path(__file__).parents[1] / "fixtures"
FLOW = "recorded"
"""The flow of all records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """A message as a broker returned it.

    Attributes:
        queue: From which it was taken.
        content_header: The payload of the AMQP frame with its properties.
    """

    queue: str
    content_header: bytes
    body: bytes

    @property
    def properties(self) -> Basic.Properties:
        """The properties as an AMQP library reads and publishes them."""
        header = ContentHeader()
        header.unmarshal(self.content_header)
        return header.properties


def recorded_messages(version: str) -> dict[str, RecordedMessage]:
    """Return a version's messages by their kind."""
    return {
        kind: RecordedMessage(
            queue=record["queue"],
            content_header=bytes.fromhex(record["content_header_hex"]),
            body=base64.b64decode(record["body_base64"]),
        )
        for kind, record in _document(version, "messages").items()
    }


def recorded_bodies(version: str, name: str) -> dict[str, bytes]:
    """Return a version's announcements (`control`) or orders (`runtime`) by their kind."""
    return {kind: record["body"].encode() for kind, record in _document(version, name).items()}


def _document(version: str, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FIXTURES / version / f"{name}.json").read_text(encoding="utf-8"))
    return document
