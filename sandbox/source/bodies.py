"""Bodies of webhooks, with the headers that their senders add."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Content of one request, sent byte for byte."""

    name: str
    content: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path) -> Body:
    """Read one body. The name of the file selects the sender.

    `EVENT[.ACTION...].payload.json` and `EVENT.github.json` are from GitHub, `TOPIC-ACTION.shopify.json` is from
    Shopify, and any other file is plain JSON.
    """
    event, *_ = path.name.split(".")
    headers: dict[str, str] = {}
    if path.name.endswith((".payload.json", ".github.json")):
        headers["X-GitHub-Event"] = event
    elif path.name.endswith(".shopify.json"):
        headers["X-Shopify-Topic"] = event.replace("-", "/", 1)
    return Body(name=path.name, content=path.read_bytes(), headers=headers)


def read_directory(directory: Path) -> Sequence[Body]:
    """Read every *.json file in the directory, in the order of the names.

    Raises:
        FileNotFoundError: There is no such file.
    """
    paths = sorted(directory.glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"no *.json in {directory}")
    return [read_file(path) for path in paths]
