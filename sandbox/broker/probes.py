"""Short requests that show whether a RabbitMQ is ready, and which one it is."""

import base64
import http.client
import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

_ANSWERS_WITHIN_S = 2.0
_CHANGES_WITHIN_S = 30.0
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = 1
_USUAL_PORTS = {"amqp": 5672, "amqps": 5671}
_SUCCESSES = {http.HTTPStatus.OK, http.HTTPStatus.CREATED, http.HTTPStatus.NO_CONTENT}
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: all addresses are on loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Host, port and login of one AMQP URL."""

    host: str
    port: int
    login: str
    password: str
    encrypted: bool

    @classmethod
    def of(cls, url: str) -> "BrokerAddress":
        """Read an `amqp://` or `amqps://` URL.

        Raises:
            ValueError: The URL has another scheme or no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in _USUAL_PORTS or not parts.hostname:
            raise ValueError("not an amqp:// or amqps:// URL with a host")
        return cls(
            host=parts.hostname,
            port=parts.port or _USUAL_PORTS[parts.scheme],
            login=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            encrypted=parts.scheme == "amqps",
        )


def speaks_amqp(address: BrokerAddress) -> bool:
    """Return whether a broker answers there. With TLS, return whether anything accepts connections."""
    try:
        with socket.create_connection((address.host, address.port), timeout=_ANSWERS_WITHIN_S) as connection:
            if address.encrypted:
                return True
            connection.sendall(_AMQP_HEADER)
            return connection.recv(1) == bytes([_METHOD_FRAME])  # a broker answers with Connection.Start
    except OSError:
        return False


def answers_ok(url: str) -> bool:
    """Return whether a `GET` of an http URL succeeds."""
    return _get(urllib.request.Request(url)) is not None  # noqa: S310 - only ever loopback, http


def management_get(url: str, path: str, *, login: str, password: str) -> Any:
    """Return the JSON that the management API at `url` answers to `GET /api/{path}`; None if there is none."""
    body = _get(_management_request(url, path, login=login, password=password))
    try:
        return None if body is None else json.loads(body)
    except ValueError:
        return None


def management_put(url: str, path: str, content: Any, *, login: str, password: str) -> bool:
    """Send `PUT /api/{path}` to the management API at `url`; return whether it succeeded."""
    request = _management_request(url, path, login=login, password=password)
    request.method = "PUT"
    request.data = json.dumps(content).encode()
    request.add_header("Content-Type", "application/json")
    return _get(request, timeout_s=_CHANGES_WITHIN_S) is not None


def _management_request(url: str, path: str, *, login: str, password: str) -> urllib.request.Request:
    credentials = base64.b64encode(f"{login}:{password}".encode()).decode()
    return urllib.request.Request(  # noqa: S310 - only ever a management URL, http
        f"{url}api/{path}", headers={"Authorization": f"Basic {credentials}"}
    )


def _get(request: urllib.request.Request, *, timeout_s: float = _ANSWERS_WITHIN_S) -> bytes | None:
    """Return the body of a successful answer; None for any other answer, or without one."""
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            return bytes(response.read()) if response.status in _SUCCESSES else None
    except urllib.error.HTTPError as error:
        error.close()  # the error is the answer too, and holds its connection open
    except (OSError, http.client.HTTPException):
        pass
    return None
