"""Reports to the service manager that started this process: systemd, or any other that sets NOTIFY_SOCKET.

The protocol is sd_notify(3): one datagram for each message. Without NOTIFY_SOCKET nothing is sent.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from eventflow.tasks import cancel_and_wait

PINGS_PER_TIMEOUT = 3
"""One lost datagram, and one late wake-up of the event loop, do not end a healthy service."""


@asynccontextmanager
async def supervised() -> AsyncIterator[None]:
    """Report that the service works while the context is open, and then that it stops.

    Readiness does not depend on the broker: the services work without it, and a manager would end a service whose
    start takes too long. Keep-alive messages prove that the event loop runs; nothing else can make them late.
    """
    _notify("READY=1")
    pinging = asyncio.create_task(_ping_regularly(interval_s)) if (interval_s := _ping_interval_s()) else None
    try:
        yield
    finally:
        if pinging is not None:
            await cancel_and_wait(pinging)
        _notify("STOPPING=1")


async def _ping_regularly(interval_s: float) -> None:
    while True:
        _notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)


def _ping_interval_s() -> float:
    """Return the time between two keep-alive messages, or 0 if the manager expects none from this process."""
    timeout_us, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    is_expected = timeout_us.isdecimal() and pid in {"", str(os.getpid())}
    return int(timeout_us) / 1e6 / PINGS_PER_TIMEOUT if is_expected else 0.0


def _notify(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:  # no free descriptor, too
        sending.setblocking(False)  # a manager that does not read must not stop the event loop
        sending.sendto(message.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
