"""Parameters of addresses and members of JSON bodies become values, the same for pages and API."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from eventflow.errors import InvalidInputError
from eventflow.event import is_valid_attribute
from eventflow.history.filters import PAGE_MAX, AttemptFilter, Cursor
from eventflow.operations.dead.selection import Selection, require_reasons
from eventflow.operations.moments import moment_of
from eventflow.operations.overrides import units_per_s_of
from eventflow.topology import DEFAULT_FLOW
from eventflow_console.refusals import RequestRefusedError

PAGE_USUAL: Final = 50
IDS_MAX: Final = 1000
NUMBER_MAX_DIGITS: Final = 9
TEXT_SHOWN_MAX: Final = 64
CONFIGURED: Final = "configured"
"""In place of a rate: the one in the settings."""

Parameters = Mapping[str, str]


def flow_in(parameters: Parameters, flows: Collection[str]) -> str:
    """Return the flow that is named; without a name the only one, or `default` if there are several.

    Raises:
        RequestRefusedError: There is no such flow, or none is named and none is `default`.
    """
    name = parameters.get("flow", "")
    if not name:
        name = next(iter(flows)) if len(flows) == 1 else DEFAULT_FLOW
    if name not in flows:
        raise RequestRefusedError(404, f"There is no flow {_shown(name)}; these exist: {', '.join(flows)}.")
    return name


def named_flow_in(parameters: Parameters, flows: Collection[str]) -> str | None:
    """Return the flow that is named; None without a name.

    Raises:
        RequestRefusedError: There is no such flow.
    """
    return flow_in(parameters, flows) if parameters.get("flow") else None


def ordered_flow_in(parameters: Parameters, flows: Collection[str]) -> str:
    """Return the flow of an order. It must be named: an order to the wrong flow is worse than none.

    Raises:
        InvalidInputError: None is named.
        RequestRefusedError: There is no such flow.
    """
    if not parameters.get("flow"):
        raise InvalidInputError(f"flow: one of these is expected: {', '.join(flows)}")
    return flow_in(parameters, flows)


def event_id_in(parameters: Parameters) -> str:
    """Return the id of an event.

    Raises:
        InvalidInputError: There is none, or no event can have it.
    """
    event_id = parameters.get("id", "").strip()
    if not is_valid_attribute(event_id):
        raise InvalidInputError("id: the id of an event is expected, 1 to 255 bytes of printable characters")
    return event_id


def attempts_in(parameters: Parameters, flow: str) -> AttemptFilter:
    """Return a selection of attempts; an empty parameter is no condition.

    Raises:
        InvalidInputError: A parameter is malformed.
        UnboundedFilterError: The selection has no index.
    """
    return AttemptFilter(
        flow=flow,
        outcome=_text_in(parameters, "outcome"),
        reason=_text_in(parameters, "reason"),
        status=_status_in(parameters),
        type=_text_in(parameters, "type"),
        since=_moment_in(parameters, "since"),
        until=_moment_in(parameters, "until"),
    )


def letters_in(parameters: Parameters, ids: Collection[str] = ()) -> Selection:
    """Return a selection of dead letters: by their ids if there are any, and by `reason`, `status`, `type` and times.

    Raises:
        InvalidInputError: A parameter is malformed, or there are too many ids.
    """
    if len(ids) > IDS_MAX:
        raise InvalidInputError(f"ids: at most {IDS_MAX} are expected; select more by a filter")
    if not all(map(is_valid_attribute, ids)):
        raise InvalidInputError("ids: each is expected to be 1 to 255 bytes of printable characters")
    reason, kind, status = _text_in(parameters, "reason"), _text_in(parameters, "type"), _status_in(parameters)
    if reason is not None:
        require_reasons([reason])
    return Selection(
        ids=frozenset(ids),
        reasons=frozenset() if reason is None else frozenset({reason}),
        statuses=frozenset() if status is None else frozenset({status}),
        types=frozenset() if kind is None else frozenset({kind}),
        since=_moment_in(parameters, "since"),
        until=_moment_in(parameters, "until"),
    )


def cursor_in(parameters: Parameters) -> Cursor | None:
    """Return the place after which a page begins; None for the first page.

    Raises:
        InvalidInputError: It is malformed.
    """
    if not (text := parameters.get("after")):
        return None
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise InvalidInputError(f"after: {error}") from None


def limit_in(parameters: Parameters, *, most: int = PAGE_MAX) -> int:
    """Return the number of rows that a page may have.

    Raises:
        InvalidInputError: It is no number, or too large.
    """
    text = parameters.get("limit")
    return _number(text, "limit", least=1, most=most) if text else min(PAGE_USUAL, most)


def rate_in(text: str) -> float | None:
    """Return a rate in units per second; None for `configured`, the rate in the settings.

    Raises:
        InvalidInputError: It is neither.
    """
    return None if text == CONFIGURED else units_per_s_of(text[:TEXT_SHOWN_MAX])


def _text_in(parameters: Parameters, name: str) -> str | None:
    text = parameters.get(name, "").strip()
    if not text:
        return None
    if not is_valid_attribute(text):
        raise InvalidInputError(f"{name}: at most 255 bytes of printable characters are expected")
    return text


def _status_in(parameters: Parameters) -> int | None:
    text = parameters.get("status", "").strip()
    return _number(text, "status", least=100, most=999) if text else None


def _moment_in(parameters: Parameters, name: str) -> datetime | None:
    text = parameters.get(name, "").strip()
    try:
        return moment_of(text[:TEXT_SHOWN_MAX]) if text else None
    except InvalidInputError as error:
        raise InvalidInputError(f"{name}: {error}") from None


def _number(text: str, name: str, *, least: int, most: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= NUMBER_MAX_DIGITS
    if not (is_number and least <= int(text) <= most):
        raise InvalidInputError(f"{name}: a number from {least} to {most} is expected")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= TEXT_SHOWN_MAX else f"{text[:TEXT_SHOWN_MAX]}…")
