"""The packages that are built for others: the wheel and the source distribution."""

import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[3]
METADATA = "event_flow-*.dist-info"


def files_of_wheel(project: Path, directory: Path) -> set[str]:
    [wheel] = WheelBuilder(str(project)).build(directory=str(directory), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def built_from_checkout(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return files_of_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_adds_only_names_of_ours_to_site_packages(built_from_checkout: set[str]) -> None:
    folders = {Path(file).parts[0] for file in built_from_checkout}
    assert {folder for folder in folders if not Path(folder).match(METADATA)} == {
        "eventflow",
        "eventflow_collector",
        "eventflow_console",
        "eventflow_processor",
        "eventflow_relay",
    }


def test_the_source_distribution_builds_the_same_wheel(built_from_checkout: set[str], tmp_path: Path) -> None:
    [sdist] = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [project] = tmp_path.glob("event_flow-*/")
    assert files_of_wheel(project, tmp_path) == built_from_checkout


def test_the_wheel_contains_the_schemas_of_the_history(built_from_checkout: set[str]) -> None:
    folder = "eventflow/history"
    steps = {f"{folder}/{store}/migrations/0001_history.sql" for store in ("sqlite", "postgres")}
    assert steps <= built_from_checkout
