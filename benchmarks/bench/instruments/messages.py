"""Messages in the shape that each program expects, as the frames of one publish."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from eventflow.event import Event, utc_now
from eventflow.message import Envelope, encode

PERSISTENT = 2
_MARK = "0123456789abcdef" * 2
"""Placeholder for the id, which is different in each message."""

_TRACES_EVERY = 100
"""One of so many messages of the collector belongs to a recorded trace."""

_UNRECORDED, _RECORDED = (f"00-{_MARK}-0123456789abcde0-{flags}" for flags in ("02", "03"))

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of a publish on channel 1 with a placeholder for the id, which is also the trace id if there is one."""

    template: bytes

    def numbered(self, number: int) -> bytes:
        """Return the frames of one message, with its own id."""
        template = self.template
        if number % _TRACES_EVERY == 0:
            template = template.replace(_UNRECORDED.encode(), _RECORDED.encode())
        return template.replace(_MARK.encode(), b"%032x" % number)


def frames(shape: str, body: bytes, *, queue: str) -> Frames:
    """Return the frames that publish `body` to `queue` in a shape, a key of `SHAPES`."""
    properties, body = SHAPES[shape](body)
    parts = (
        Basic.Publish(exchange="", routing_key=queue, mandatory=True),
        ContentHeader(body_size=len(body), properties=properties),
        ContentBody(body),
    )
    return Frames(b"".join(frame.marshal(part, 1) for part in parts))


def _ours(body: bytes) -> tuple[Basic.Properties, bytes]:
    now = utc_now()
    event = Event(
        id=_MARK,
        source="/events/default",
        type="eventflow.event",
        time=now,
        accepted_at=now,
        body=body,
        content_type=_JSON,
    )
    message = replace(encode(Envelope(event=event), traceparent=_UNRECORDED), message_id=_MARK)
    properties = Basic.Properties(
        content_type=_JSON, headers=dict(message.headers), delivery_mode=PERSISTENT, message_id=message.message_id
    )
    return properties, message.body


def _plain(body: bytes) -> tuple[Basic.Properties, bytes]:
    return Basic.Properties(content_type=_JSON, delivery_mode=PERSISTENT, message_id=_MARK), body


def _celery(body: bytes) -> tuple[Basic.Properties, bytes]:
    """Return a task message of Celery's protocol 2: the arguments are in the body, the task is in the headers."""
    call = [[json.loads(body)], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    properties = Basic.Properties(
        content_type=_JSON,
        content_encoding="utf-8",
        headers={"lang": "py", "task": "deliver", "id": _MARK, "root_id": _MARK, "retries": 0, "ignore_result": True},
        delivery_mode=PERSISTENT,
        correlation_id=_MARK,
    )
    return properties, json.dumps(call).encode()


SHAPES: Mapping[str, Callable[[bytes], tuple[Basic.Properties, bytes]]] = {
    "ours": _ours,
    "plain": _plain,
    "celery": _celery,
}
