"""The commands in the documents: fenced `sh` blocks, and the comments that direct how a test runs them.

A comment is invisible to a reader of the page. It stands in front of the block that it is about:

    <!-- doc test: not run: needs Docker -->            its commands and options are only looked up
    <!-- doc test: background until HOST:PORT -->       it keeps running; the next step begins when something listens
    <!-- doc test: background until FILE -->            the same, when this file exists
    <!-- doc test: file eventflow.toml -->              the block, in any language, becomes this file
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

_STEP = re.compile(
    r"<!-- doc test: (?P<directive>.*?)-->|^```(?P<language>\w+)\n(?P<block>.*?)^```$", re.DOTALL | re.MULTILINE
)
_NOT_RUN, _BACKGROUND, _FILE = "not run: ", "background until ", "file "
_COMMENT = re.compile(r"(?:^|\s)#(?:\s.*)?$", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_BETWEEN_COMMANDS = {"&&", "||", ";", "|", "&", "(", ")", "()", "{", "}", ">", "<", ">>", ";;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A block with commands or for a file, or commands of a setup.

    Attributes:
        line: Its first line in the document.
        language: Language of the block, such as `sh`.
        text: The commands, or the content of the file.
        directive: Of the comment in front of it; empty if there is none.
    """

    line: int
    text: str
    language: str = "sh"
    directive: str = ""

    @property
    def not_run(self) -> str | None:
        """The reason if it is not run."""
        return _after(_NOT_RUN, self.directive)

    @property
    def until(self) -> str | None:
        """The address or the file to wait for if it runs in the background."""
        return _after(_BACKGROUND, self.directive)

    @property
    def file(self) -> str | None:
        """The name of the file if it becomes one."""
        return _after(_FILE, self.directive)


def steps_of(document: Path) -> Iterator[Step]:
    """Yield the steps of a document, in order: blocks with commands, files and setups."""
    return (step for step in blocks_of(document) if step.language == "sh" or step.file is not None)


def blocks_of(document: Path) -> Iterator[Step]:
    """Yield all blocks of a document that have a language, and the setups, in order."""
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
        yield Step(line=line, text=found["block"], language=found["language"], directive=directive)
        directive = ""


def _after(prefix: str, directive: str) -> str | None:
    return directive.removeprefix(prefix) if directive.startswith(prefix) else None


def commands_in(document: Path) -> Iterator[list[str]]:
    """Yield the words of each simple command: those of the blocks, and those of `code` in the text."""
    for step in steps_of(document):
        if step.file is not None:
            continue
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
