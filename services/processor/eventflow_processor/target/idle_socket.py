"""Socket of a connection between two requests, seen past the event loop and the buffers of its transport."""

import asyncio
import select


class IdleSocket:
    """Socket of an idle connection, to be polled just before the next request."""

    __slots__ = ("_poll", "_quiet")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        number = transport.get_extra_info("socket").fileno()
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN | select.POLLOUT)
        self._quiet = [(number, select.POLLOUT)]

    def is_quiet(self) -> bool:
        """Whether nothing waits in either direction.

        There may be bytes, or the end of the stream, that the event loop has not read yet. And if the socket accepts no
        bytes, the rest of an earlier request waits for it: its answer came early. Over TLS, no buffer size shows this.
        """
        return self._poll.poll(0) == self._quiet
