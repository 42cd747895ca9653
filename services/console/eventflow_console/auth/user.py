"""The operator who made a request."""

from typing import Final, Protocol

from aiohttp import web

USER: Final = web.RequestKey("user", str)


class Authenticator(Protocol):
    """A way of authentication."""

    async def user(self, request: web.Request) -> str:
        """Return the name of the operator.

        Raises:
            RequestRefusedError: It is not known.
        """
        ...


def user_of(request: web.Request) -> str:
    """Return the name of the operator who made a request, as actions keep it."""
    return request[USER]
