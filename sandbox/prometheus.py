"""The command that installs Prometheus for the tests.

python -m sandbox.prometheus    makes sure that prometheus, promtool and amtool are installed
"""

import shutil
import sys

from rich.console import Console

from sandbox import system_package

PROGRAMS = ("prometheus", "promtool", "amtool")


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def main() -> None:
    """Install missing programs; exit with status 3 if that is not possible."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not missing():
        return
    try:
        system_package.install(
            system_package.PROMETHEUS, lambda text: console.print(text, style="yellow", markup=False)
        )
    except system_package.InstallError as error:
        console.print(f"{', '.join(missing())} could not be installed: {error}", style="red", markup=False)
        sys.exit(3)


if __name__ == "__main__":
    main()
