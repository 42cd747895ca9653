"""A short request that shows whether a PostgreSQL takes connections."""

import socket
import struct
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_ANSWERS_WITHIN_S = 2.0
_PROTOCOL = 3 << 16
_ERROR = b"E"
_STARTS_OR_ENDS = b"57P03"  # cannot_connect_now
_USUAL_PORT = 5432


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Host, port and login of a `postgresql://` URL."""

    host: str
    port: int
    login: str

    @classmethod
    def of(cls, url: str) -> "ServerAddress":
        """Read a URL.

        Raises:
            ValueError: The URL has another scheme or no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"postgres", "postgresql"} or not parts.hostname:
            raise ValueError("not a postgresql:// URL with a host")
        return cls(host=parts.hostname, port=parts.port or _USUAL_PORT, login=unquote(parts.username or "postgres"))


def answers(address: ServerAddress) -> bool:
    """Return whether a server answers a login: with a question for the password, or a refusal that is not temporary."""
    settings = b"user\0" + address.login.encode() + b"\0database\0postgres\0\0"
    try:
        with socket.create_connection((address.host, address.port), timeout=_ANSWERS_WITHIN_S) as connection:
            connection.sendall(struct.pack(">ii", 8 + len(settings), _PROTOCOL) + settings)
            answer = connection.recv(1024)
    except OSError:
        return False
    return bool(answer) and not (answer.startswith(_ERROR) and _STARTS_OR_ENDS in answer)
