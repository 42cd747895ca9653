"""Requests of other sites."""

import pytest
from multidict import CIMultiDict

from eventflow_console.security.origins import foreign_reason

HOST = {"Host": "console.example:8088"}


def is_refused(method: str, **headers: str) -> bool:
    sent = CIMultiDict(HOST | {name.replace("_", "-"): value for name, value in headers.items()})
    return foreign_reason(method, sent) is not None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "ANYTHING"])
def test_a_change_by_another_site_is_refused(method: str):
    assert is_refused(method, Sec_Fetch_Site="cross-site")
    assert is_refused(method, Sec_Fetch_Site="same-site")
    assert is_refused(method, Origin="https://evil.example")
    assert is_refused(method, Origin="null")
    assert is_refused(method, Origin="http://console.example:8089")
    assert is_refused(method, Origin="http://console.example:8088.evil.example")
    assert is_refused(method, Sec_Fetch_Site="cross-site", Content_Type="application/json")
    assert is_refused(method, Origin="null", Content_Type="application/json")


def test_a_change_by_our_own_page_is_accepted():
    assert not is_refused("POST", Sec_Fetch_Site="same-origin", Origin="null")
    assert not is_refused("POST", Origin="http://console.example:8088")
    assert not is_refused("POST", Origin="https://console.example:8088")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
)
def test_a_change_that_a_form_of_an_old_browser_could_send_is_refused(content_type: str):
    assert is_refused("POST", Content_Type=content_type)


def test_a_program_that_sends_json_is_accepted():
    assert not is_refused("POST", Content_Type="application/json; charset=utf-8")


def test_a_link_of_another_site_may_be_followed_and_nothing_else_may_be_asked_for():
    assert not is_refused("GET")
    assert not is_refused("GET", Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")
    assert not is_refused("GET", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors", Sec_Fetch_Dest="empty")
    assert not is_refused("GET", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")
    assert is_refused("GET", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe")
    assert is_refused("GET", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image")
    assert is_refused("GET", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors", Sec_Fetch_Dest="empty")


def test_an_origin_that_is_no_url_is_refused():
    assert is_refused("POST", Origin="http://[::1")
    assert is_refused("POST", Origin="")
