"""A real Prometheus for tests, whatever the machine has.

python -m sandbox.prometheus    sees to it that prometheus, promtool and amtool can be had
"""

import shutil
import sys

from rich.console import Console

from sandbox import system_package

PROGRAMS = ("prometheus", "promtool", "amtool")


def missing() -> list[str]:
    """Name the programs that are not here."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def main() -> None:
    """Install what is missing; exit status 3 where that is not possible."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not missing():
        return
    try:
        system_package.install(
            system_package.PROMETHEUS, lambda text: console.print(text, style="yellow", markup=False)
        )
    except system_package.InstallError as error:
        console.print(f"No {', '.join(missing())}: {error}", style="red", markup=False)
        sys.exit(3)


if __name__ == "__main__":
    main()
