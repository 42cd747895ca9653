"""Values as shells, Compose files, Kubernetes and editors leave them. Pure; no error shows any part of a value.

Nothing removes quotes or expands variables here. A value with quotes around it, or with an unexpanded variable in it,
is refused: used literally, it would be a directory, a host or a key that was not intended.
"""

import re
from pathlib import PurePosixPath

BYTE_ORDER_MARK = "\ufeff"

_QUOTED = re.compile(r"""\s*(?:(["'`]).*\1|[\u201c\u201e].*[\u201c\u201d]|\u2018.*\u2019)\s*""", re.DOTALL)
"""Straight quotes, and the curved ones that word processors replace them with."""

_QUOTES = "\"'`\u201c\u201d\u2019"
_UNEXPANDED = re.compile(r"\$\{[^{}]*\}|\$\([A-Za-z_][A-Za-z0-9_.-]*\)|\{\{.*\}\}", re.DOTALL)
"""`${NAME}` of shells and Compose, `$(NAME)` of Kubernetes, `{{ name }}` of templates."""

_FOR_A_SHELL = re.compile(r"(?:^|/)(?:~|\$[A-Za-z_])")


class FileText(str):
    """The content of a file that a `_FILE` variable names: each line of it may be one secret."""

    __slots__ = ()


def decoded(content: bytes) -> str:
    """Decode a file, without the byte order marks of editors; files that were joined have them in the middle too.

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
    """Check the rules for every value.

    Raises:
        ValueError: It still has quotes around it, or contains a variable that was not expanded.
    """
    if _QUOTED.fullmatch(text):
        raise ValueError("it still has quotes around it, which `docker --env-file` keeps: remove them")
    check_expanded(text)


def check_expanded(text: str) -> None:
    """Check a value that may have quotes of its own.

    Raises:
        ValueError: It contains a variable that was not expanded.
    """
    if _UNEXPANDED.search(text):
        raise ValueError("it still contains a variable that was not expanded, such as ${NAME}, $(NAME) or {{ name }}")


def check_path(path: str) -> None:
    """Check the path of a file or directory. It must be absolute, because a service may be started in any directory.

    Raises:
        ValueError: It is relative, or only a shell would expand it.
    """
    check_literal(path)
    if _FOR_A_SHELL.search(path):
        raise ValueError("~ and $NAME in it are not expanded: an absolute path is expected, such as /var/lib/eventflow")
    if not PurePosixPath(path).is_absolute() or not path.isprintable() or path[-1] in _QUOTES:
        raise ValueError("an absolute path is expected, which begins with / and has no quotes")
