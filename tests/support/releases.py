"""The services of released versions, from the history of the repository, to run beside those of today."""

import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SINCE_RELEASED = "EVENTFLOW_COLLECTOR__SPOOL_DRAIN_TIMEOUT_S"
"""A setting that the tests give to each collector, and that a release before 0.3.0 does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A released version.

    Attributes:
        commit: The last one of the version.
        packages: Folders that Python searches for its packages.
        collector: The module that runs its collector.
        processor: The module that runs its processor.
    """

    commit: str
    packages: tuple[str, ...]
    collector: str
    processor: str


RELEASES = {
    "0.1.0": Release(
        commit="072629550260bebae3deaf37f8b7376bbe72074d",
        packages=("libs", "services"),
        collector="collector",
        processor="processor",
    ),
    "0.2.0": Release(
        commit="493d88d7133c892822e77732a065067a6d2ff75b",
        packages=("libs", "services/collector", "services/processor"),
        collector="eventflow_collector",
        processor="eventflow_processor",
    ),
    "0.3.0": Release(
        commit="e5b4b8096d28d17aaa6c9e4c37b7c67f2c8fc4ad",
        packages=("libs", "services/collector", "services/processor"),
        collector="eventflow_collector",
        processor="eventflow_processor",
    ),
}
"""Every release. Its data are in `tests/fixtures`."""


def unpack(release: Release, directory: Path) -> tuple[str, ...]:
    """Unpack the code of a release, and return the words in front of a command that then runs it.

    The dependencies are those of today. The test is skipped if the history of the repository is not here.
    """
    archive = subprocess.run(
        ["git", "archive", release.commit, "libs", "services"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        pytest.skip(f"the code of the release is not here: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
    search = os.pathsep.join(str(directory / package) for package in release.packages)
    return ("env", f"--unset={SINCE_RELEASED}", f"PYTHONPATH={search}")
