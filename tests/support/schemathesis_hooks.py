"""Facts about the collector that schemathesis cannot find in its description."""

import json
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import AllowHeaderMismatch, RejectedPositiveData


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Write one JSON value in each line."""
    values = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(part).encode() + b"\n" for part in values)


HANDSHAKE_METHODS = frozenset({"get", "head", "options"})
ATTRIBUTE_RULES = (b"bytes of printable characters", b"bytes without control characters", b"percent-encoded UTF-8")


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case, response: Response
) -> bool:
    """Let pass what OpenAPI has no words for; return whether a failure counts.

    `batch=1` goes with some content types only and asks for an array. Attributes are bounded in bytes, not in
    characters, have printable ones only, and in `ce-` headers are percent-encoded UTF-8. Headers that cannot be used
    are passed over, and an empty `batch` is none. A flow takes handshakes by the methods of its sender only.
    """
    match failure:
        case AllowHeaderMismatch():
            return "events" not in case.path
        case RejectedPositiveData() if case.method.lower() in HANDSHAKE_METHODS:
            return response.status_code not in {400, 405}
        case RejectedPositiveData():
            return "batch" not in (case.query or {}) and not any(words in response.content for words in ATTRIBUTE_RULES)
        case AcceptedNegativeData():
            is_refused = response.status_code == 413  # which schemathesis does not take for a refusal
            return not (invalid_parts(case) <= passed_over(case) or is_refused)
    return True


def invalid_parts(case: schemathesis.Case) -> set[ParameterLocation]:
    """Return the parts of a request that do not match the description."""
    assert case.meta is not None
    return {location for location, part in case.meta.components.items() if part.mode.is_negative}


def passed_over(case: schemathesis.Case) -> set[ParameterLocation]:
    """Return the parts of a request whose errors the collector ignores."""
    is_batch = (case.query or {}).get("batch")
    return {ParameterLocation.HEADER} if is_batch else {ParameterLocation.HEADER, ParameterLocation.QUERY}
