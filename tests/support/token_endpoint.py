"""A token endpoint of OAuth 2.0, and a target that accepts its latest token only."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

SECRET = "cl1ent/s3cret+"


@dataclass(slots=True)
class Identity:
    """The endpoint and its target, each on a free port of loopback.

    Attributes:
        requests: The requests for tokens.
        tokens: The tokens that were issued; the target accepts the last one, unless it accepts none.
        lifetime_s: `expires_in` of the next token.
        answer: An answer in place of a token.
        delay_s: Time that each request for a token takes.
        accepts: Whether the target accepts the latest token.
        received: Pairs of the token and the status of each request to the target.
    """

    token_url: str = ""
    target_url: str = ""
    requests: list[tuple[web.Request, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    lifetime_s: float = 3600
    answer: web.Response | None = None
    delay_s: float = 0.0
    accepts: bool = True
    received: list[tuple[str, int]] = field(default_factory=list)

    def revoke(self) -> None:
        """Make the present token invalid."""
        self.tokens.append("no longer valid")

    async def issue(self, request: web.Request) -> web.Response:
        self.requests.append((request, await request.text()))
        await asyncio.sleep(self.delay_s)
        if self.answer is not None:
            return web.Response(status=self.answer.status, body=self.answer.body, headers=self.answer.headers)
        self.tokens.append(f"t0ken-{len(self.tokens)}-secret")
        return web.json_response(
            {"access_token": self.tokens[-1], "token_type": "bearer", "expires_in": self.lifetime_s}
        )

    async def accept(self, request: web.Request) -> web.Response:
        await request.read()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        is_accepted = self.accepts and bool(self.tokens) and token == self.tokens[-1]
        status = 204 if is_accepted else 401
        self.received.append((token, status))
        return web.Response(status=status, text=None if is_accepted else json.dumps({"bad": token}))


@asynccontextmanager
async def identity() -> AsyncIterator[Identity]:
    """Run both."""
    here = Identity()
    app = web.Application()
    app.router.add_post("/token", here.issue)
    app.router.add_post("/target", here.accept)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        here.token_url, here.target_url = f"{base}/token", f"{base}/target"
        yield here
    finally:
        await runner.cleanup()
