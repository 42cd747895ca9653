"""Texts with event attributes in braces, such as `/orders/{subject}`: parsed once, filled in for each event. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from yarl import URL

from eventflow.dot_segments import has_dot_segment
from eventflow.errors import UnsendableEventError
from eventflow.event import Event

FLOW: Final = "flow"
ATTRIBUTES: Final = ("id", "type", "source", "subject", FLOW)

_BRACE = re.compile(r"\{\{|\{([A-Za-z_]*)\}")
"""`{{`, which stands for one literal brace, or a name in braces. All other braces are literal, as in a JSON object."""

_AUTHORITY = re.compile(r"[^:/?#]*://[^/?#]*")
_FIRST_MARK = 0xE000
"""Private characters stand for the attributes while a URL is encoded. No setting has them: they are not printable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeTemplate:
    """A text with places for attributes.

    Attributes:
        literals: The fixed texts: before the first attribute, between two of them, and after the last.
        names: The attributes, one fewer than the texts.
    """

    literals: tuple[str, ...]
    names: tuple[str, ...] = ()

    def filled(self, event: Event, encode: Callable[[str], str]) -> str:
        """Return the text for an event, with each value encoded.

        Raises:
            UnsendableEventError: The event lacks one of the attributes.
        """
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            value = getattr(event, name)
            if not value:
                raise UnsendableEventError(f"the event has no {name}, but the settings of its target use {{{name}}}")
            parts += encode(value), literal
        return "".join(parts)

    def with_flow(self, flow: str) -> "AttributeTemplate":
        """Return the template with the name of a flow in place of `{flow}`."""
        literals, names = [self.literals[0]], []
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            if name == FLOW:
                literals[-1] += flow + literal
            else:
                names.append(name)
                literals.append(literal)
        return AttributeTemplate(literals=tuple(literals), names=tuple(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTemplate:
    """The path and the query of a URL, with places for attributes.

    Each value is percent-encoded, except for letters, digits and `-._~`. So it stays in its path segment or in its
    parameter of the query. This is not enough for dot segments: servers resolve `%2E%2E` too. So an event whose values
    would form one cannot be sent.
    """

    path: AttributeTemplate
    query: AttributeTemplate | None = None

    @property
    def literals(self) -> tuple[str, ...]:
        """The fixed texts of both."""
        return self.path.literals + (() if self.query is None else self.query.literals)

    def filled(self, event: Event) -> str:
        """Return path and query for an event.

        Raises:
            UnsendableEventError: The event lacks an attribute, or its values would form a dot segment.
        """
        path = self.path.filled(event, _percent_encoded)
        if has_dot_segment(path):
            raise UnsendableEventError("an attribute of the event would be a dot segment, such as .., in the URL")
        return path if self.query is None else f"{path}?{self.query.filled(event, _percent_encoded)}"

    def with_flow(self, flow: str) -> "PathTemplate":
        """Return the template with the name of a flow in place of `{flow}`."""
        return PathTemplate(
            path=self.path.with_flow(flow), query=None if self.query is None else self.query.with_flow(flow)
        )


def template_of(text: str) -> AttributeTemplate:
    """Parse a text. A literal `{id}` is written as `{{id}`.

    Raises:
        ValueError: A name in braces is not an attribute.
    """
    literals, names, end = [""], [], 0
    for found in _BRACE.finditer(text):
        literals[-1] += text[end : found.start()]
        end = found.end()
        if found[1] is None:
            literals[-1] += "{"
            continue
        if found[1] not in ATTRIBUTES:
            accepted = ", ".join(f"{{{name}}}" for name in ATTRIBUTES)
            raise ValueError(f"a name in braces is an attribute of the event: {accepted}; a literal brace is {{{{")
        names.append(found[1])
        literals.append("")
    literals[-1] += text[end:]
    return AttributeTemplate(literals=tuple(literals), names=tuple(names))


def path_template_of(url: str) -> PathTemplate | None:
    """Parse an HTTP URL; None if it has no braces.

    Raises:
        ValueError: There are braces in its host or its fragment, or braces that are not around an attribute, or its
            path has a dot segment.
    """
    if "{" not in url and "}" not in url:
        return None
    authority = _AUTHORITY.match(url)
    place, _, fragment = url[0 if authority is None else authority.end() :].partition("#")
    if authority is None or {"{", "}"} & {*authority[0], *fragment}:
        raise ValueError("attributes in braces are accepted in its path and in its query only")
    template = template_of(place)
    if {"{", "}"} & {*"".join(template.literals)}:
        raise ValueError("each brace in it must belong to an attribute; %7B and %7D are literal braces")
    return _encoded(authority[0], template)


def _encoded(authority: str, template: AttributeTemplate) -> PathTemplate:
    """Encode the literal parts as those of a URL without attributes are."""
    marks = [chr(_FIRST_MARK + number) for number in range(len(template.names))]
    marked = "".join(part for pair in zip(template.literals, [*marks, ""], strict=True) for part in pair)
    url = URL(authority + marked)
    path, query = url.raw_path, url.raw_query_string
    split = re.compile("|".join(map(quote, marks)))
    in_path, in_query = split.split(path), split.split(query)
    count = len(in_path) - 1
    if count + len(in_query) - 1 != len(template.names) or has_dot_segment(path):
        raise ValueError("with attributes in braces, its path has no dot segments")
    return PathTemplate(
        path=AttributeTemplate(literals=tuple(in_path), names=template.names[:count]),
        query=AttributeTemplate(literals=tuple(in_query), names=template.names[count:]) if query else None,
    )


def _percent_encoded(value: str) -> str:
    return quote(value, safe="")
