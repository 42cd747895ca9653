"""The command that installs the programs that only tests use: Prometheus with its tools, and a browser.

python -m sandbox.programs    installs those that are missing
"""

import os
import shutil
import sys

from rich.console import Console

from sandbox import system_package
from sandbox.system_package import CHROMIUM, PROMETHEUS, InstallError, Package

BROWSER_VARIABLE = "EVENTFLOW_TEST_BROWSER"
_PROMETHEUS_PROGRAMS = ("prometheus", "promtool", "amtool")
_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def browser() -> str | None:
    """Return the path of a browser of the Chromium family: the one in EVENTFLOW_TEST_BROWSER, or an installed one."""
    given = os.environ.get(BROWSER_VARIABLE)
    return next((path for name in ([given] if given else _BROWSERS) if (path := shutil.which(name))), None)


def missing() -> list[Package]:
    """Return the packages of which a program is not installed."""
    has_prometheus = all(shutil.which(program) for program in _PROMETHEUS_PROGRAMS)
    return [package for package, is_there in ((PROMETHEUS, has_prometheus), (CHROMIUM, browser())) if not is_there]


def main() -> None:
    """Install missing programs; exit with status 3 if that is not possible for one of them."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for package in missing():
        try:
            system_package.install(package, lambda text: console.print(text, style="yellow", markup=False))
        except InstallError as error:
            console.print(f"{package.title} could not be installed: {error}", style="red", markup=False)
    if missing():
        sys.exit(3)


if __name__ == "__main__":
    main()
