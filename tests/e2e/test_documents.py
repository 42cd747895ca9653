"""The commands of the documents, executed in their order as a reader would.

Each document has a machine of its own, as far as a namespace is one: all usual ports are free, and no process outlives
the test. It works in a copy of the checkout.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.broker import provision
from sandbox.processes import scrubbed_environment
from tests.support.documents import ROOT, WITH_COMMANDS, Step, steps_of
from tests.support.means import cannot
from tests.support.surroundings import alone_on_loopback

WITHIN_S = 300
EXECUTED = [
    document
    for document in WITH_COMMANDS
    if not document.is_relative_to(ROOT / "deploy")  # needs Docker or root
    and any(step.not_run is None for step in steps_of(document))
]
PRELUDE = r"""
set -euo pipefail
set -m  # a program in the background gets Ctrl-C as one in a terminal of its own
logs=0
is_there() { case "$1" in *:*) (exec 3<>"/dev/tcp/${1/://}") 2>/dev/null ;; *) test -e "$1" ;; esac; }
until_there() {
    for _ in $(seq 900); do is_there "$1" && return; sleep 0.1; done
    echo "$1 is not there"; tail -n 30 "$HOME"/*.log; return 1
}
background() { "${@:2}" >"$HOME/$((logs++)).log" 2>&1 & until_there "$1"; }
end_background() { for pid in $(jobs -p); do kill -INT -- "-$pid" && wait "$pid" || true; done; }
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that are under version control or new, with the programs of the same virtual environment."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = tmp_path / "event-flow"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    # `make` finds a complete environment here; otherwise it would install this copy into that of the checkout.
    (copy / ".venv").mkdir()
    for part in (ROOT / ".venv").iterdir():
        if part.name != ".installed":
            (copy / ".venv" / part.name).symlink_to(part)
    (copy / ".venv" / ".installed").touch()
    return copy


def script_of(document: Path) -> Iterator[str]:
    yield PRELUDE
    for step in steps_of(document):
        if step.not_run is None:
            yield f"echo '--- line {step.line}'\n{command_of(step)}"


def command_of(step: Step) -> str:
    if step.file is not None:
        return f"cat >{step.file} <<'END OF FILE'\n{step.text}END OF FILE\n"
    if step.until is None:
        return step.text
    return f'{{\n{step.text}}} >"$HOME/line-{step.line}.log" 2>&1 &\nuntil_there {step.until}\n'


@pytest.mark.documents
@pytest.mark.parametrize("document", EXECUTED, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.timeout(WITHIN_S + 60)
def test_the_commands_of_a_document_succeed(
    document: Path, checkout: Path, tmp_path: Path, node_directory: Path
) -> None:
    try:
        provision.ensure()
    except provision.BrokerNotAvailable as error:
        cannot(f"no broker: {error}")
    home = tmp_path / "home"
    home.mkdir()
    environment = scrubbed_environment() | {
        "HOME": str(home),
        "SERVER_DATA": str(node_directory),  # for a PostgreSQL, which does not run as root and must reach its data
        "PATH": f"{checkout / '.venv' / 'bin'}:{os.environ['PATH']}",
    }
    environment.pop("XDG_STATE_HOME", None)
    ended = subprocess.run(
        [*alone_on_loopback(), "bash", "-c", "\n".join(script_of(document))],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
