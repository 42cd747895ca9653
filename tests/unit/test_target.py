"""One attempt: which failures are the target's, and which are those of a connection that was kept too long."""

import socket

import pytest

from eventflow.event import Event, new_event_id, utc_now
from eventflow.message import Envelope
from processor.feedback import FeedbackReader
from processor.request import RequestForm
from processor.target import Failed, Target
from sandbox.ports import free_port


async def attempt_at(url: str) -> tuple[object, int]:
    """Return the result of an attempt, and how many repeated requests were charged."""
    now, charged = utc_now(), []

    async def charge() -> None:
        charged.append(True)

    event = Event(id=new_event_id(), source="/", type="t", time=now, accepted_at=now, body=b"{}")
    target = Target(
        url=url,
        form=RequestForm(),
        headers={},
        timeout_s=5,
        concurrency=1,
        feedback=FeedbackReader(mode="none"),
    )
    async with target:
        return await target.attempt(Envelope(event=event), charge=charge), len(charged)


async def test_a_target_that_nobody_listens_for_is_not_asked_twice() -> None:
    assert await attempt_at(f"http://127.0.0.1:{free_port()}/") == (Failed(reason="connection"), 0)


async def test_a_target_whose_name_is_not_known_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await attempt_at("http://target.invalid/") == (Failed(reason="connection"), 0)
