"""Attempts column by column, as the stores write them. Pure.

Most columns have one value in all attempts of a batch, such as the flow and the status 200. A driver takes longer to
pass on the values of a row than the store takes to write the row. So each of these values is passed on only once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventflow.history.records import AttemptRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of some attempts, without those that are null in all of them.

    Attributes:
        rows: Number of the attempts.
        same: The value of each column that has one value.
        varying: The values of each other column, in the order of the attempts.
    """

    rows: int
    same: Mapping[str, Any]
    varying: Mapping[str, Sequence[Any]]


def columns_of(attempts: Sequence[AttemptRecord]) -> Columns:
    """Turn attempts into columns. There must be at least one attempt."""
    same: dict[str, Any] = {}
    varying: dict[str, Sequence[Any]] = {}
    for name, column in zip(AttemptRecord._fields, zip(*attempts, strict=True), strict=True):
        value = column[0]
        if column.count(value) != len(column):
            varying[name] = column
        elif value is not None:
            same[name] = value
    return Columns(rows=len(attempts), same=same, varying=varying)
