"""Values as shells, Compose files, Kubernetes and editors leave them. Pure; no error shows any part of one.

A value is taken as it stands. So one that still has its quotes, or names a variable that was never expanded, is
refused: taken literally it would be a directory, a host or a key that was never meant.
"""

import re
from pathlib import PurePosixPath

BYTE_ORDER_MARK = "\ufeff"

_QUOTED = re.compile(r"""\s*(?:(["'`]).*\1|[\u201c\u201e].*[\u201c\u201d]|\u2018.*\u2019)\s*""", re.DOTALL)
"""Straight quotes, and those that word processors make of them."""

_QUOTES = "\"'`\u201c\u201d\u2019"
_UNEXPANDED = re.compile(r"\$\{[^{}]*\}|\$\([A-Za-z_][A-Za-z0-9_.-]*\)|\{\{.*\}\}", re.DOTALL)
"""`${NAME}` of shells and Compose, `$(NAME)` of Kubernetes, `{{ name }}` of templates."""

_FOR_A_SHELL = re.compile(r"(?:^|/)(?:~|\$[A-Za-z_])")


class FileText(str):
    """The content of a file that a `_FILE` variable names."""

    __slots__ = ()


def decoded(content: bytes) -> str:
    """Decode a file without the byte order marks that editors write, wherever files were joined.

    Raises:
        ValueError: It is not UTF-8 text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise ValueError("it is not UTF-8 text but most likely UTF-16: save it as UTF-8")
    try:
        return content.decode().replace(BYTE_ORDER_MARK, "")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def check_literal(text: str) -> None:
    """Check what holds for every value.

    Raises:
        ValueError: It is still in quotes, or names a variable that was not expanded.
    """
    if _QUOTED.fullmatch(text):
        raise ValueError("it still has quotes around it, which `docker --env-file` keeps: leave them out")
    check_expanded(text)


def check_expanded(text: str) -> None:
    """Check a value that may have quotes of its own.

    Raises:
        ValueError: It names a variable that was not expanded.
    """
    if _UNEXPANDED.search(text):
        raise ValueError("it still holds a variable that was not expanded, such as ${NAME}, $(NAME) or {{ name }}")


def check_path(path: str) -> None:
    """Check the path of a file or directory. Relative ones are refused: a service may be started anywhere.

    Raises:
        ValueError: It is not absolute, or a shell was meant to expand it.
    """
    check_literal(path)
    if _FOR_A_SHELL.search(path):
        raise ValueError("no shell expands ~ or $NAME in it: an absolute path is expected, such as /var/lib/eventflow")
    if not PurePosixPath(path).is_absolute() or not path.isprintable() or path[-1] in _QUOTES:
        raise ValueError("an absolute path is expected, which begins with / and has no quotes")
