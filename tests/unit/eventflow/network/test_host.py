"""Hosts and HTTP URLs: an accepted one can fail later only as a network fails."""

import asyncio
import socket
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from eventflow.network.host import check_host, check_http_url, shown_http_url

SOUND_HOSTS = [
    *(
        "localhost",
        "rabbit_1",
        "api.example.com",
        "api.example.com.",
        "127.0.0.1",
        "::1",
        "::",
        "0.0.0.0",
        "fe80::1%eth0",
    ),
    *("b\u00fccher.example", "\u2603.net", "xn--n3h.net", "1.example", "-a-", "a" * 63, ".".join(["a" * 49] * 5)),
]
WRONG_HOSTS = [
    *("", ".", "..", ".default.svc", "a..b", "a" * 64, "a" * 64 + ".b", ".".join(["a" * 60] * 5), "a b", "$HOST", "*"),
    *(
        "\u00fc" * 64,
        "host:80",
        "[::1]",
        "::1%",
        "fe80::1%" + "a" * 16,
        "fe80::1%a..b",
        "1.2.3",
        "256.1.1.1",
        "1.2.3.4.",
    ),
    *("http://h", "h/", "\udcff", "\u00ad", "h\n", "h%41", "12345::"),
]


@pytest.mark.parametrize("host", SOUND_HOSTS)
def test_a_host_that_can_be_looked_up_is_taken(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_a_host_that_no_network_can_know_is_refused(host: str) -> None:
    """Reproduced on 0.1.0 (bodhi#3235, openbikesensor/portal#301): 20 of 20 events dead by `http://.default.svc/`."""
    with pytest.raises(ValueError, match=r"host|zone"):
        check_host(host)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://h",
            "https://h/",
            "HTTP://h:80/a?b=c#d",
            "http://[::1]:8080/x",
            "http://[fe80::1%eth0]/",
        ),
        *("http://h/~user/$metadata?q='x'(1)", "http://b\u00fccher.example/\u00fc", "http://h?x=y"),
    ],
)
def test_a_complete_url_is_taken(url: str) -> None:
    check_http_url(url)


WRONG_URLS = [
    *(
        "",
        "h",
        "//h/",
        "ftp://h/",
        "http:/h",
        "http:h",
        "http://",
        "http:///x",
        "http://:80/",
        "http://h:/",
        "http://h:0/",
        "http://h:99999/",
    ),
    *(
        "http://h:567200/",
        "http://h:x/",
        "http://h:8_0/",
        "http://h:+80/",
        "http://h:\u0663/",
        "http://h:80:90/",
        "http://[::1/",
    ),
    *(
        "http://::1/",
        "http://[v1.a]/",
        "http://[1.2.3.4]/",
        "http://[h]/",
        "http://u:p@h/",
        "http://h/a b",
        "http://h/ # x",
    ),
    *(
        "http://ho\tst/",
        "http://h\\x/",
        "http://h/\udcff",
        "http://h/\0",
        "http://h/x\n",
        'http://h/"',
        "http://\u2100/",
    ),
    *(f"http://{host}/" for host in WRONG_HOSTS if host not in {"host:80", "[::1]", "h/"}),
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_a_url_that_no_client_can_connect_to_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[ -~]+$"):
        check_http_url(url)


def test_a_user_is_taken_only_where_it_is_used() -> None:
    check_http_url("http://u:p@h:15672", takes_userinfo=True)
    with pytest.raises(ValueError, match="no user or password"):
        check_http_url("http://u:p@h:15672")


@given(
    st.one_of(
        st.text(max_size=80),
        st.builds(
            "http://{}{}{}".format,
            st.text(max_size=70),
            st.sampled_from(["", ":80", ":99999", ":x"]),
            st.text(max_size=8),
        ),
        st.from_regex(
            r"https?://(\[[0-9a-f:%.]{0,20}\]|[a-z0-9.\-_\u00df-\u017f\u0660-\u0669]{0,70})(:[0-9]{0,6})?(/\S{0,9})?",
            fullmatch=True,
        ),
    )
)
@example("http://\u1e9e.de/")
@example("http://\U0001f600.de/")
def test_what_is_taken_can_be_encoded_and_read_by_everything_that_connects(url: str) -> None:
    try:
        check_http_url(url)
    except ValueError:
        return
    read = URL(url)
    assert read.host
    assert read.port
    assert urlsplit(url).hostname
    assert urlsplit(url).port != 0
    read.raw_path_qs.encode("ascii")
    for host in (read.host, read.raw_host or "", urlsplit(url).hostname or ""):
        assert host.encode("idna")


@pytest.mark.parametrize("host", [host for host in SOUND_HOSTS if not host[0].isdigit()])
async def test_a_client_meets_only_errors_of_the_network_with_a_host_that_is_taken(host: str) -> None:
    class Nowhere(aiohttp.abc.AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: int = socket.AF_INET
        ) -> list[aiohttp.abc.ResolveResult]:
            host.encode("idna")
            raise OSError(f"{host} is not looked up in a test")

        async def close(self) -> None: ...

    url = f"http://[{host}]:1/" if ":" in host else f"http://{host}:1/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nowhere())) as client:
        with pytest.raises((aiohttp.ClientError, OSError)):
            async with asyncio.timeout(5), client.get(url):
                pass


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:99999/T0KEN?x", "http://host:99999/..."),
        ('"https://hooks.example/T0KEN"', "https://hooks.example/..."),
        ("https://hooks.example", "https://hooks.example"),
        ("ftp://h", "ftp://h"),
        ("http://[::1]:0/T0KEN", "http://[::1]:0/..."),
        ("http://host T0KEN", "http://host/..."),
        ("http://user:T0KEN@host/", None),
        ("http://user:T0/KEN@host/", None),
        ("http://host:T0KEN/", None),
        ("T0KEN", None),
        ("hooks.example/T0KEN", None),
        ("http:/host/T0KEN", None),
        ("${T0KEN}", None),
    ],
)
def test_an_error_shows_no_more_of_a_url_than_its_host(text: str, shown: str | None) -> None:
    """docker/cli#4665. Reproduced on 0.1.0: an error showed the whole URL of a target, with a token in its path."""
    assert shown_http_url(text) == shown
