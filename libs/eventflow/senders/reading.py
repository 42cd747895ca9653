"""Senders that an operator describes in TOML. Pure."""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from eventflow.senders.checks import problems_in
from eventflow.senders.table import RESERVED_NAMES, SENDERS
from eventflow.senders.vocabulary import Sender


def read_senders(tables: Mapping[str, object]) -> dict[str, Sender]:
    """Return the senders that the tables of the section `[senders]` describe, by name.

    Raises:
        ValueError: A table is wrong; the message names each wrong key and the accepted form.
    """
    adapter = TypeAdapter(Sender)  # it takes 50 ms to build, so only if there are such tables
    senders = {}
    for name, table in tables.items():
        if name in SENDERS or name in RESERVED_NAMES:
            raise ValueError(f"[senders.{name}]: this name is taken; choose another")
        if not isinstance(table, Mapping):
            raise ValueError(f"[senders.{name}] is a table that describes a sender")  # noqa: TRY004 - see "Raises"
        try:
            senders[name] = adapter.validate_python({"title": name, **table, "name": name})
        except ValidationError as error:
            raise ValueError(_explained(name, error)) from None
        if problems := [f"[senders.{name}] {problem}" for problem in problems_in(senders[name])]:
            raise ValueError("; ".join(problems))
    return senders


def _explained(sender: str, error: ValidationError) -> str:
    wrong = []
    for detail in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in detail["loc"])
        wrong.append(f"[senders.{sender}] {path}: {str(detail['msg']).removeprefix('Value error, ')}")
    return "; ".join(wrong)
