"""The statement that puts rows into the outbox, for SQLAlchemy with any driver. It requires SQLAlchemy."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import DateTime, LargeBinary, String, bindparam, text

from eventflow.outbox.row import COLUMNS, insert_with

_TYPES: Final[Mapping[str, Any]] = {"time": DateTime(timezone=True), "body": LargeBinary()}
"""A driver may need the type of a value, which SQLAlchemy would guess: a time without a zone, for example."""

INSERT: Final = text(insert_with(":{name}")).bindparams(
    *(bindparam(name, type_=_TYPES.get(name, String())) for name in COLUMNS)
)
"""Takes rows of `row_of`, one or a list of them."""
