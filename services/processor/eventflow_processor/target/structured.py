"""An event in the JSON format of CloudEvents 1.0. Pure."""

import base64
import json
import re
from typing import Final

from eventflow.event import Event, format_time

CLOUDEVENT: Final = "application/cloudevents+json"

_JSON_TYPE = re.compile(r"[^/;]+/([^/;]+\+)?json", re.IGNORECASE)


def structured(event: Event) -> bytes:
    """Write an event as a CloudEvent in JSON. A body that is one already stays as it is.

    A JSON body is embedded with its original bytes, so that no number or order of keys changes; any other as base64.
    """
    if _media_type(event) == CLOUDEVENT:
        return event.body
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": format_time(event.time),
        "subject": event.subject,
        "datacontenttype": event.content_type,
        "dataschema": event.dataschema,
    }
    if event.extensions is not None:
        attributes |= event.extensions
    head = json.dumps({name: value for name, value in attributes.items() if value is not None}).encode()
    if _is_json(event):
        return b'%b,"data":%b}' % (head[:-1], event.body)
    return b'%b,"data_base64":"%b"}' % (head[:-1], base64.b64encode(event.body))


def _is_json(event: Event) -> bool:
    if not _JSON_TYPE.fullmatch(_media_type(event)):
        return False
    try:
        json.loads(event.body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _media_type(event: Event) -> str:
    return (event.content_type or "").partition(";")[0].strip().lower()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
