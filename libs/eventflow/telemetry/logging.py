"""Structured logs on stdout: constant dotted event names, identifiers and numbers as fields, never payloads."""

import logging
import re
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

ID_SHOWN_CHARACTERS = 64
SEVERITIES = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
"""Severity numbers of OpenTelemetry's log data model, so that log shippers need not know our names of levels."""

UNSPECIFIED = 0
FIRST_FIELDS = ("timestamp", "level", "event")

_SECRET_WORDS = ("password", "secret", "signature", "api_key", "authorization", "token")
_PASSWORD_IN_URL = re.compile(r"(//[^/\s:@]*:)[^/\s@]+@")


def configure(*, service: str, log_format: Literal["json", "console"], level: str) -> None:
    """Send every log line of this process, including those of libraries, through one pipeline to stdout."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(log_format, service))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # They log each connection error, in several lines. Our own events report it once, with the reason.
    for library in ("aiormq", "aio_pika", "aiohttp.access"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # one line for lost traces, and none for each retry
    # It exports them, and its lines quote the endpoint's path, which may hold a token.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def add_severity(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Add OpenTelemetry's number for the level."""
    event_dict["severity_number"] = SEVERITIES.get(event_dict["level"], UNSPECIFIED)
    return event_dict


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Hide the value of each field with the name of a secret, and the passwords of URLs in any field."""
    for name, value in event_dict.items():
        if any(word in name.lower() for word in _SECRET_WORDS):
            event_dict[name] = "(hidden)"
        elif isinstance(value, str) and "@" in value:
            event_dict[name] = _PASSWORD_IN_URL.sub(r"\1***@", value)
    return event_dict


_REDACTION: tuple[Processor, ...] = (structlog.processors.format_exc_info, redact)
"""Redact after the traceback is formatted: it may quote a URL with a password."""


def shown_id(event_id: str) -> str:
    """Shorten an id for a log line: senders choose ids, of up to 255 bytes."""
    return event_id if len(event_id) <= ID_SHOWN_CHARACTERS else event_id[:ID_SHOWN_CHARACTERS] + "…"


def _add_service(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        event_dict.setdefault("service", service)
        return event_dict

    return add


def _order_fields(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Put first the fields that a person looks for first, because lines are often cut on the right."""
    return {name: event_dict[name] for name in FIRST_FIELDS if name in event_dict} | dict(event_dict)


def _rendering(log_format: Literal["json", "console"], service: str) -> list[Processor]:
    """Return the last steps. Only lines for machines, which are collected with those of others, name the service."""
    if log_format == "json":
        return [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            add_severity,
            _add_service(service),
            _order_fields,
            *_REDACTION,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ]
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        *_REDACTION,
        structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
