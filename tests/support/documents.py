"""The commands in the documents: fenced `sh` blocks, and the comments that direct how a test runs them.

A comment is invisible to a reader of the page. It stands in front of the block that it is about:

    <!-- doc test: not run: needs Docker -->            its commands and options are only looked up
    <!-- doc test: background until HOST:PORT -->       it keeps running; the next step begins when something listens
    <!-- doc test: background until FILE -->            the same, when this file exists
    <!-- doc test: setup                                what a reader does in another way, such as with an editor
    sed -i 's#<the URL of your API>#http://127.0.0.1:8090/#' eventflow.toml
    -->
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITH_COMMANDS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    file for folder in ("docs", "deploy") for file in (ROOT / folder).rglob("*.md")
)

_STEP = re.compile(r"<!-- doc test: (?P<directive>.*?)-->|^```sh\n(?P<block>.*?)^```$", re.DOTALL | re.MULTILINE)
_NOT_RUN, _BACKGROUND = "not run: ", "background until "
_COMMENT = re.compile(r"(?:^|\s)#(?:\s.*)?$", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_BETWEEN_COMMANDS = {"&&", "||", ";", "|", "&", "(", ")", "()", "{", "}", ">", "<", ">>", ";;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A block, or commands of a setup.

    Attributes:
        line: Its first line in the document.
        not_run: The reason if it is not run.
        until: If it runs in the background: the address or the file to wait for.
    """

    line: int
    text: str
    not_run: str | None = None
    until: str | None = None


def steps_of(document: Path) -> Iterator[Step]:
    """Yield the steps of a document, in order."""
    text = document.read_text()
    directive = ""
    for found in _STEP.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["block"] is None:
            directive = found["directive"].strip()
            if directive.startswith("setup\n"):
                yield Step(line=line, text=directive.removeprefix("setup\n"))
                directive = ""
            continue
        yield Step(
            line=line,
            text=found["block"],
            not_run=_after(_NOT_RUN, directive),
            until=_after(_BACKGROUND, directive),
        )
        directive = ""


def _after(prefix: str, directive: str) -> str | None:
    return directive.removeprefix(prefix) if directive.startswith(prefix) else None


def commands_in(document: Path) -> Iterator[list[str]]:
    """Yield the words of each simple command: those of the blocks, and those of `code` in the text."""
    for step in steps_of(document):
        for line in _COMMENT.sub("", step.text.replace("\\\n", " ")).splitlines():
            yield from _simple(line)
    prose = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for span in _SPAN.findall(prose):
        if re.match(r"(?:\S+/)?(?:eventflow|eventflow-\w+|make|docker compose) [\w-]", span):
            yield from _simple(span)


def _simple(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    command: list[str] = []
    try:
        words = list(lexer)
    except ValueError:  # a here-document, or a quote that continues on the next line
        return
    for word in [*words, ";"]:
        if word in _BETWEEN_COMMANDS:
            if command:
                yield command
            command = []
        elif command or not re.fullmatch(r"[A-Za-z_]\w*=.*", word):
            command.append(word)
