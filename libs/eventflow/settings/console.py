"""The section `[console]`. Pure."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from eventflow.http_token import is_token
from eventflow.network.host import check_http_url
from eventflow.settings.addresses import CONSOLE_ADMIN_PORT, DEFAULT_HOST
from eventflow.settings.fields import AbsolutePath, AdminHost, AdminPort, ListeningHost, Networks, Port, Section, split

TRACE_ID = "{trace_id}"


def _trace_url(value: str) -> str:
    check_http_url(value.replace(TRACE_ID, "0"))
    if TRACE_ID not in value:
        raise ValueError(f"an address with {TRACE_ID} is expected, such as http://localhost:16686/trace/{TRACE_ID}")
    return value


def _header(value: str) -> str:
    if not is_token(value):
        raise ValueError("the name of a header is expected")
    return value


class ConsoleSettings(Section):
    """The service with pages for operators."""

    host: ListeningHost = Field(DEFAULT_HOST, description="host name or address on which the pages are served")
    port: Port = Field(8088, description="port on which the pages are served; 0 = a free port")
    admin_host: AdminHost = DEFAULT_HOST
    admin_port: AdminPort = CONSOLE_ADMIN_PORT
    auth: Literal["none", "basic", "proxy"] = Field(
        "none",
        description="`none` is accepted on loopback only; `basic` asks for a name and a password of `users_file`; "
        "`proxy` takes the name from `user_header`, in requests from `trusted_proxies` only",
    )
    users_file: AbsolutePath = Field(
        None,
        description="absolute path of the file with the users and the hashes of their passwords; it is read "
        "again after a change",
    )
    user_header: Annotated[str, AfterValidator(_header)] = Field(
        "X-Forwarded-User", description="header in which a trusted proxy sends the name of the user"
    )
    trusted_proxies: Networks = Field(
        (), description="addresses and networks of the proxies in front, separated by commas"
    )
    hosts: Annotated[tuple[str, ...], BeforeValidator(split)] = Field(
        (),
        description="host names in the addresses that people open, separated by commas; loopback names, `host`, and "
        "the address at which a request arrives are always accepted, and any other name is refused",
    )
    read_only: bool = Field(False, description="whether every change is refused; the pages then have no controls")
    trace_url: Annotated[str, AfterValidator(_trace_url)] | None = Field(
        None, description=f"address of a trace for links, such as `http://localhost:16686/trace/{TRACE_ID}`"
    )
