"""Mode in which a request carries its events, by its content type and the parameter `batch`. Pure."""

from collections.abc import Mapping
from enum import Enum, auto
from functools import cached_property, lru_cache

from eventflow.errors import EventFlowError, InvalidEventError
from eventflow_collector.intake.cloudevents import VERSION_HEADER

CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS_BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
JSON = "application/json"

TYPES_KEPT_MAX = 128
"""Number of cached content types. A sender has one or two."""


class Mode(Enum):
    """The ways in which a request can carry its events."""

    OPAQUE = auto()
    STRUCTURED = auto()
    CLOUDEVENTS_BATCH = auto()
    NDJSON = auto()
    JSON_ARRAY = auto()

    @cached_property
    def is_batch(self) -> bool:
        """Whether it may carry any number of events."""
        return self is not Mode.OPAQUE and self is not Mode.STRUCTURED


class UnknownModeError(EventFlowError):
    """The content type is not accepted in this mode."""


_MODES = {CLOUDEVENT: Mode.STRUCTURED, CLOUDEVENTS_BATCH: Mode.CLOUDEVENTS_BATCH, NDJSON: Mode.NDJSON}


def mode_of(headers: Mapping[str, str], *, batch: str | None) -> Mode:
    """Return the mode of a request.

    Args:
        headers: Of the request.
        batch: The query parameter `batch`; `1` makes each element of a JSON array an event.

    Raises:
        UnknownModeError: CloudEvents in a format other than JSON, or `batch=1` with a body that cannot be a batch.
        InvalidEventError: `batch` is neither `1` nor empty.
    """
    media_type = _media_type_of(headers.get("Content-Type", ""))
    mode = _MODES.get(media_type, Mode.OPAQUE)
    if mode is Mode.OPAQUE and media_type.startswith("application/cloudevents"):
        raise UnknownModeError("CloudEvents are taken in JSON only")
    if not batch:
        # A binary CloudEvent is one event, even if its data are lines of JSON.
        return Mode.OPAQUE if mode is Mode.NDJSON and headers.get(VERSION_HEADER) else mode
    if batch != "1":
        raise InvalidEventError("the parameter batch must be 1 if it is given")
    if mode is Mode.OPAQUE and media_type == JSON:
        return Mode.JSON_ARRAY
    if not mode.is_batch:
        raise UnknownModeError(f"a batch is a JSON array under {JSON}, or {NDJSON}, or {CLOUDEVENTS_BATCH}")
    return mode


@lru_cache(maxsize=TYPES_KEPT_MAX)
def _media_type_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
