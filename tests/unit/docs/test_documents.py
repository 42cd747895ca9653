"""The documents agree with the code and with each other."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")] + sorted(
    file for folder in ("docs", "deploy", "tests/fixtures") for file in (ROOT / folder).rglob("*.md")
)
CODE = "\n".join(file.read_text() for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
LOG_EVENT = re.compile(r"\.(?:debug|info|warning|error|exception)\(\s*\"(\w+\.\w+)\"")


def first_cells(section: str) -> str:
    text = (ROOT / "docs" / "operations.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return "".join(row.split("|")[1] for row in text.splitlines() if row.startswith("| `"))


def anchors_of(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for path, anchor in LINK.findall(document.read_text()):
        linked = Path(os.path.normpath(document.parent / path)) if path else document
        assert linked.exists(), path
        if anchor:
            assert anchor in anchors_of(linked), f"{path}#{anchor}"


def test_the_list_of_decisions_has_each_record_with_its_title() -> None:
    records = sorted((ROOT / "docs/adr").glob("0*.md"))
    titles = [record.read_text().splitlines()[0].removeprefix("# ").split(". ", 1) for record in records]
    entries = [f"{number}. [{title}]({record.name})" for (number, title), record in zip(titles, records, strict=True)]
    listed = (ROOT / "docs/adr/README.md").read_text().splitlines()
    assert [line for line in listed if line[:1].isdigit()] == entries


def test_every_log_event_is_documented_and_every_documented_one_exists() -> None:
    documented = set(re.findall(r"`(\w+\.\w+)`", first_cells("Logs")))
    assert set(LOG_EVENT.findall(CODE)) <= documented
    assert documented <= set(re.findall(r"\"(\w+\.\w+)\"", CODE))


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    documented = {name.removesuffix("_total") for name in re.findall(r"`(\w+)`", first_cells("Metrics"))}
    in_code = {name.removesuffix("_total") for name in re.findall(r"\"(eventflow_\w+)\"", CODE)}
    assert documented == in_code - {"eventflow_collector", "eventflow_processor"}
