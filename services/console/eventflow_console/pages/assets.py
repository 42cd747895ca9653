"""The stylesheet, the script and the icon, which are read once, at the start.

The address of each contains a hash of its content, so a browser may keep it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "static"
_CONTENT_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HASH_DIGITS: Final = 12

PATH: Final = "/static/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file."""

    content: bytes
    content_type: str


def _read(path: Path) -> tuple[str, Asset]:
    content = path.read_bytes()
    digits = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
    return f"{path.stem}.{digits}{path.suffix}", Asset(content=content, content_type=_CONTENT_TYPES[path.suffix])


_NAMED: Final = {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _CONTENT_TYPES}

ASSETS: Final[Mapping[str, Asset]] = dict(_NAMED.values())
"""The files by their names with a hash."""


def asset_address(name: str) -> str:
    """Return the address of a file, such as `console.css`."""
    hashed, _ = _NAMED[name]
    return f"{PATH}{hashed}"
