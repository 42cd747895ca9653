"""Facts about the console's API that schemathesis cannot find in its description."""

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData

RULES = (
    b"since: ",
    b"until: ",
    b"after: ",
    b"printable characters",
    b"a reason, a status or a type is searched",
    b"is unknown: reasons are",
    b"either `all` is expected",
)
"""Beginnings of what the description has no words for: times, cursors, bytes in texts, bounded selections."""


@schemathesis.deserializer("application/x-ndjson")
def lines_of(context: schemathesis.DeserializationContext, response: Response) -> object:
    """Return the lines as one text: OpenAPI 3.1 has no word for a schema of each."""
    return response.content.decode()


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case, response: Response
) -> bool:
    """Let pass what OpenAPI has no words for; return whether a failure counts."""
    if isinstance(failure, RejectedPositiveData):
        return not (response.status_code == 400 and any(words in response.content for words in RULES))
    if isinstance(failure, AcceptedNegativeData):
        return not any(map(_is_lenient, (case.query or {}).values()))
    return True


def _is_lenient(value: object) -> bool:
    """Return True for an empty text, which a form sends for a field without a condition, and for space around one."""
    texts = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and (not text or text != text.strip()) for text in texts)
