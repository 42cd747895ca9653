"""A real browser, the system's Chromium, whose pages may do nothing that a page of the console must not do."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    WebError,
    async_playwright,
    expect,
)

from sandbox import programs
from tests.support.means import cannot

# Read at the import, because each test removes the variables of ours from its environment.
PATH = programs.browser()
GIVEN = os.environ.get(programs.BROWSER_VARIABLE)
TIMEOUT_MS = 30_000
"""Of acts and of expectations: Playwright expects what a page shows within 5 s, and a live page reads every 2 s."""

_ARGUMENTS = (
    "--no-sandbox",  # Chromium's own sandbox needs a user other than root, and the tests of CI run as root
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # neither a page nor the browser uses the network
)

# Chromium reports violations of a policy on its console too. This reports also those of a report-only policy, and
# gives the directive and the place.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event => reportViolation(
    `${event.effectiveDirective} forbids ${event.blockedURI || "this"} at ${event.sourceFile}:${event.lineNumber}`));
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run the browser. Without one skip the test, or fail it if CI=true."""
    if PATH is None:
        cannot(f"{GIVEN or 'Chromium'} is not installed (python -m sandbox.programs installs Chromium)")
    expect.set_options(timeout=TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PATH, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(kw_only=True)  # without slots: Playwright sets attributes on the owner of a handler
class Watched:
    """Forbidden acts of the pages of a context: errors, dialogs, violations of the policy, requests to other hosts.

    Attributes:
        origin: Scheme, host and port that the pages may request.
        expected: Parts of the texts of forbidden acts that the test provokes.
        acts: All forbidden acts so far.
    """

    origin: str
    expected: list[str] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)

    @property
    def unexpected(self) -> Sequence[str]:
        return [act for act in self.acts if not any(part in act for part in self.expected)]

    async def watch(self, context: BrowserContext) -> None:
        """Watch the pages of a context from now on."""
        context.on("console", self._on_console)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("weberror", self._on_error)
        await context.expose_binding("reportViolation", lambda _, text: self.acts.append(f"policy: {text}"))
        await context.add_init_script(_REPORT_VIOLATIONS)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.acts.append(f"console: {message.text} ({message.location['url']})")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self.acts.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"data", "blob"} and f"{url.scheme}://{url.netloc}" != self.origin:
            self.acts.append(f"request: {request.method} {request.url}")

    def _on_error(self, error: WebError) -> None:
        self.acts.append(f"script: {error.error}")


@asynccontextmanager
async def watched_page(browser: Browser, origin: str, **options: Any) -> AsyncIterator[tuple[Page, Watched]]:
    """Open a page in a context of its own; forbidden acts fail the test at the end.

    Args:
        origin: Scheme, host and port that the page may request; also the base of its relative URLs.
        options: Those of `Browser.new_context`, such as `color_scheme`, `viewport` and `java_script_enabled`.
    """
    context = await browser.new_context(base_url=origin, **options)
    context.set_default_timeout(TIMEOUT_MS)
    watched = Watched(origin=origin)
    await watched.watch(context)
    try:
        yield await context.new_page(), watched
    finally:
        await context.close()
    assert not watched.unexpected, "\n".join(watched.unexpected)


async def wider_parts(page: Page) -> list[str]:
    """Return the parts of a page that make it scroll sideways; none if it does not."""
    found: list[str] = await page.evaluate("""() => {
        const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= width) return [];
        return [...document.body.querySelectorAll("*")]
            .filter(part => part.getBoundingClientRect().right > width + 1)
            .map(part => part.outerHTML.slice(0, 120));
    }""")
    return found


CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"


_DESCRIBED = "part => part.outerHTML.slice(0, 200)"
# Parts of a page are replaced while it shows live numbers, so a control is known by its text.


async def unreachable_controls(page: Page) -> list[str]:
    """Return the controls of a page that the key Tab does not reach, or that show no sign while they have the focus."""
    wanted: list[str] = await page.evaluate(
        f"""selector => [...document.querySelectorAll(selector)]
            .filter(part => part.checkVisibility({{visibilityProperty: true}}) && !part.disabled)
            .map({_DESCRIBED})""",
        CONTROLS,
    )
    reached: set[str] = set()
    for _ in range(len(wanted) + 1):
        await page.keyboard.press("Tab")
        reached.add(
            await page.evaluate(f"""() => {{
                const part = document.activeElement, style = getComputedStyle(part);
                const is_marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                return is_marked ? ({_DESCRIBED})(part) : "";
            }}""")
        )
    return [control for control in wanted if control not in reached]
