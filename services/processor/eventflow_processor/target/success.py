"""Rules for a success: by the status of the answer, and by its body if a rule for it is set. Pure."""

import json
from dataclasses import dataclass
from typing import Final

from eventflow.json_pointer import value_at
from eventflow.settings.target import TargetSettings, success_statuses

UNREADABLE: Final = object()
"""An answer's body in place of a document: cut off, too long, or not JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessRule:
    """Conditions under which the target has accepted an event.

    Attributes:
        statuses: The answer has one of these statuses.
        present: JSON pointers (RFC 6901): the body has a value at each of them.
        absent: JSON pointers: the body has a value at none of them.
        is_graphql: Whether the body is a GraphQL answer: a failure without `data`, or with `errors` and no result.
        user_errors_fail: Whether `userErrors` of a GraphQL mutation are a failure too.
    """

    statuses: frozenset[int] = frozenset(range(200, 300))
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    is_graphql: bool = False
    user_errors_fail: bool = False

    @property
    def reads_bodies(self) -> bool:
        """Whether the body decides too."""
        return bool(self.is_graphql or self.present or self.absent)

    def refuses(self, document: object) -> bool:
        """Whether an answer with a success status is a failure by its body.

        A body that cannot be read is refused: a repeated event does less harm than a lost one. An empty body is read
        as null.
        """
        if not self.reads_bodies:
            return False
        return (
            document is UNREADABLE
            or any(not _has(document, pointer) for pointer in self.present)
            or any(_has(document, pointer) for pointer in self.absent)
            or (self.is_graphql and self._graphql_refuses(document))
        )

    def _graphql_refuses(self, document: object) -> bool:
        if not isinstance(document, dict):
            return document is not None
        data = document.get("data")
        # Some servers put an empty list, or the text "null", in the place of results.
        results = [field for field in data.values() if field is not None] if isinstance(data, dict) else []
        if data is None or (document.get("errors") and not results):
            return True
        return self.user_errors_fail and any(_has_user_errors(field) for field in results)


def success_rule(target: TargetSettings) -> SuccessRule:
    """Return the rule that a flow's settings demand."""
    return SuccessRule(
        statuses=success_statuses(target.success_status),
        present=target.success_pointer,
        absent=target.failure_pointer,
        is_graphql=target.feedback == "shopify-graphql",
        user_errors_fail=target.user_errors_fail,
    )


def parsed(body: bytes | None) -> object:
    """Parse a JSON body. An empty body is null; one that is not JSON, or was not read, is `UNREADABLE`."""
    if body is None:
        return UNREADABLE
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return UNREADABLE


def _has(document: object, pointer: str) -> bool:
    """Whether there is a value at a pointer: null, false, "", [] and {} count as none."""
    value = value_at(document, pointer)
    return not (value is None or value is False or value in ("", [], {}))


def _has_user_errors(field: object) -> bool:
    return isinstance(field, dict) and any(
        bool(value) for name, value in field.items() if name.lower().endswith("usererrors")
    )
