"""Reads pages as a browser and a screen reader would, to find flaws."""

from collections import Counter
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "img", "input", "br", "hr"})
OPTIONAL_END = frozenset({"td", "th", "tr", "tbody", "thead", "li", "p", "option"})
NAMED = frozenset({"input", "select", "textarea"})


class Page(HTMLParser):
    """One page, taken apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.shown: list[str] = []
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self._labelled_controls = 0
        self.unnamed: list[dict[str, str]] = []
        self._label_targets: set[str] = set()
        self._controls: list[tuple[dict[str, str], bool]] = []
        self.feed(text)
        self.close()
        self.unbalanced += self._open
        for attributes, is_in_label in self._controls:
            is_named = is_in_label or "aria-label" in attributes or attributes.get("id") in self._label_targets
            if not is_named:
                self.unnamed.append(attributes)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag == "label" and "for" in attributes:
            self._label_targets.add(attributes["for"])
        if tag in NAMED and attributes.get("type") != "hidden":
            self._controls.append((attributes, "label" in self._open))
        if tag not in VOID and tag not in {"path", "rect"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1] != tag and self._open[-1] in OPTIONAL_END:
            self._open.pop()
        if self._open and self._open[-1] == tag:
            self._open.pop()
        elif tag not in VOID:
            self.unbalanced.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.shown.append(data)

    @property
    def words(self) -> str:
        """Its text, with single spaces."""
        return " ".join(" ".join(self.shown).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def flaws(self) -> list[str]:
        """Everything that a page of the console must not have."""
        found = [f"unbalanced: {tag}" for tag in self.unbalanced]
        for tag, attributes in self.tags:
            found += [f"<{tag} {name}>" for name in attributes if name.startswith("on") or name == "style"]
            for name in ("href", "src", "action", "data-live"):
                value = attributes.get(name)
                if value is not None and not value.startswith(("/", "#", "http://localhost:16686/")):
                    found.append(f"<{tag} {name}={value!r}>")
                if value is not None and value.startswith("//"):
                    found.append(f"<{tag} {name}={value!r}>")
        allowed = {"script": 1, "img": 1, "style": 0, "iframe": 0, "object": 0, "base": 0}
        count = Counter(tag for tag, _ in self.tags)
        found += [f"<{tag}>: {count[tag]}" for tag, most in allowed.items() if count[tag] > most]
        ids = Counter(attributes["id"] for _, attributes in self.tags if "id" in attributes)
        found += [f"id {name} {number} times" for name, number in ids.items() if number > 1]
        found += [f"no name: {attributes}" for attributes in self.unnamed]
        found += sorted({repr(c) for c in self.text if not c.isprintable() and c not in "\n\t\u202f"})
        return found

    def page_flaws(self) -> list[str]:
        """The same for a whole page, which has its landmarks too."""
        found = self.flaws()
        for tag in ("main", "h1", "title", "footer"):
            if (number := len(self.all(tag))) != 1:
                found.append(f"<{tag}>: {number}")
        if self.all("html") != [{"lang": "en"}]:
            found.append("no language")
        return found
