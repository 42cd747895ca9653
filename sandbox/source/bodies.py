"""Webhook bodies to send, with the headers that their senders would give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One request's content, sent byte for byte."""

    name: str
    content: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path) -> Body:
    """Read one body; the file's name tells whose webhook it is.

    `EVENT[.ACTION...].payload.json` and `EVENT.github.json` are GitHub's, `TOPIC-ACTION.shopify.json` is Shopify's,
    anything else is plain JSON.
    """
    event, *_ = path.name.split(".")
    headers: dict[str, str] = {}
    if path.name.endswith((".payload.json", ".github.json")):
        headers["X-GitHub-Event"] = event
    elif path.name.endswith(".shopify.json"):
        headers["X-Shopify-Topic"] = event.replace("-", "/", 1)
    return Body(name=path.name, content=path.read_bytes(), headers=headers)


def read_directory(directory: Path) -> Sequence[Body]:
    """Read every *.json in it, in the order of their names.

    Raises:
        FileNotFoundError: There is none.
    """
    paths = sorted(directory.glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"no *.json in {directory}")
    return [read_file(path) for path in paths]
