"""The progress of an installation, as pip and the installed packages show it."""

from io import StringIO
from pathlib import Path

from sandbox.install import Progress

LOCK = """
aio-pika==10.2.0 \\
    --hash=sha256:aa
    # via event-flow
PyYAML==6.0.2 \\
    --hash=sha256:bb
rich==14.0.0
"""


def test_packages_are_counted_while_they_are_downloaded_and_while_they_are_installed(tmp_path: Path) -> None:
    progress = Progress(LOCK, tmp_path)
    assert str(progress) == "[                        ] downloading 0 of 3 packages"
    progress.read(StringIO("Collecting aio-pika==10.2.0 (from -r x)\n  Downloading aio_pika.whl (58 kB)\n"))
    assert str(progress) == "[########                ] downloading 1 of 3 packages"
    progress.read(StringIO("Requirement already satisfied: rich==14.0.0 in x\nInstalling collected packages: rich\n"))
    for name in ("aio_pika-10.2.0", "pyyaml-6.0.2", "pip-25.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
    assert str(progress) == "[################        ] installing 2 of 3 packages"
    assert progress.tail[-1] == "Installing collected packages: rich"


def test_the_lock_file_lists_packages_in_the_form_that_is_counted(tmp_path: Path) -> None:
    lock = Path(__file__).parents[3] / "requirements-dev.lock"
    assert "of 0 packages" not in str(Progress(lock.read_text(), tmp_path))
