"""Tables in Markdown, and sections of pages that are generated."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, justify: str = "") -> str:
    """Return a table; `justify` has `l` or `r` for each column, by default `l`."""
    sides = justify or "l" * len(columns)
    lines = [columns, ["---:" if side == "r" else "---" for side in sides], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rows_of(text: str) -> Iterator[dict[str, str]]:
    """Return the rows of the tables in a text, each as its cells by the heads of their columns."""
    heads: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not heads:
            heads = cells
        elif not cells[0].startswith("---"):
            yield dict(zip(heads, cells, strict=True))


def read_section(page: Path, *, begin: str, end: str) -> str:
    """Return the section between the markers of a page.

    Raises:
        ValueError: The page has no such markers.
    """
    _, section, _ = _divided(page, begin, end)
    return section.strip()


def write_section(page: Path, section: str, *, begin: str, end: str) -> None:
    """Write a section between the markers of a page.

    Raises:
        ValueError: The page has no such markers.
    """
    before, _, after = _divided(page, begin, end)
    page.write_text(f"{before}{begin}\n\n{section}\n\n{end}{after}", encoding="utf-8")


def _divided(page: Path, begin: str, end: str) -> tuple[str, str, str]:
    before, begun, rest = page.read_text(encoding="utf-8").partition(begin)
    section, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{page} has no {begin} ... {end}")
    return before, section, after
