"""Event attributes in the URL and in the headers of a target."""

from dataclasses import replace
from posixpath import normpath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from eventflow.attribute_template import PathTemplate, path_template_of, template_of
from eventflow.errors import UnsendableEventError
from eventflow.event import Event, utc_now
from tests.support.attributes import attributes

NOW = utc_now()
EVENT = Event(id="e-1", source="/shop", type="order.paid", subject="42", time=NOW, accepted_at=NOW, body=b"")
HOSTILE = (
    "..",
    ".",
    "../admin",
    "a/../../b",
    "a\\..\\b",
    "..;x",
    "a?b=c&d",
    "#",
    "//evil.test",
    "%2e%2e",
    "@evil",
    " ",
)


def path_of(url: str) -> PathTemplate:
    template = path_template_of(url)
    assert template is not None
    return template.with_flow("orders")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h/orders/{subject}", "/orders/42"),
        ("http://h/{flow}/{type}-{id}/x", "/orders/order.paid-e-1/x"),
        ("http://h?id={id}&from={source}#top", "/?id=e-1&from=%2Fshop"),
        ("http://h/\u00e4 b/{id}?q=\u00fc&r=%26", "/%C3%A4%20b/e-1?q=%C3%BC&r=%26"),
        ("http://h/a/../{id}", "/e-1"),
        ("http://h/100%25/{id}", "/100%25/e-1"),
    ],
)
def test_a_url_is_encoded_as_one_without_attributes(url: str, path: str) -> None:
    assert path_of(url).filled(EVENT) == path


def test_a_url_without_braces_is_no_template() -> None:
    assert path_template_of("http://h/orders/1?x=%7Bid%7D") is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        *((url, "path and in its query only") for url in ("http://{id}/", "http://h.{id}/", "http://h:{id}/", "{id}")),
        *((url, "path and in its query only") for url in ("http://u{id}@h/", "http://h/#{id}", "{id}://h/")),
        ("http://h/{subjct}", "{subject}"),
        ("http://h/{}", "{subject}"),
        *((url, "%7B") for url in ("http://h/{{id}", "http://h/a}", "http://h/{a b}", "http://h/{", "http://h/{0}")),
        *((url, "dot segments") for url in ("http://h/{id}/../x", "http://h/%2F../{id}", "http://h/a%5C..%5C/{id}")),
    ],
)
def test_braces_elsewhere_in_a_url_are_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("{", r"\{")):
        path_template_of(url)


@pytest.mark.parametrize("value", ["..", ".", "../x", "x/..", "a/../b", "a\\..\\b", "..;x", "x/..;y/z"])
@pytest.mark.parametrize("url", ["http://h/v1/{subject}", "http://h/v1/{subject}/lines?x={subject}"])
def test_a_dot_segment_cannot_be_sent(url: str, value: str) -> None:
    with pytest.raises(UnsendableEventError, match="dot segment"):
        path_of(url).filled(replace(EVENT, subject=value))


def test_dots_of_several_attributes_do_not_form_a_dot_segment() -> None:
    template = path_of("http://h/{subject}{id}/x")
    with pytest.raises(UnsendableEventError):
        template.filled(replace(EVENT, subject=".", id="."))
    assert path_of("http://h/v{subject}").filled(replace(EVENT, subject="..")) == "/v.."
    assert path_of("http://h/x?up={subject}").filled(replace(EVENT, subject="../..")) == "/x?up=..%2F.."


def test_an_event_without_the_attribute_is_named_in_the_error() -> None:
    with pytest.raises(UnsendableEventError, match=r"no subject.*\{subject\}"):
        path_of("http://h/{subject}").filled(replace(EVENT, subject=None))


@given(values=st.lists(attributes(max_size=40), min_size=3, max_size=3))
@example(values=["..", "a/../b", "%2e%2e"])
@example(values=["/", "/", "0"])
@pytest.mark.parametrize("url", ["https://h.test/v1/{id}/o-{type}/x?s={subject}&t=1", "https://h.test/v1/{type}{id}"])
def test_no_value_leaves_its_place(url: str, values: list[str]) -> None:
    """Host, depth of the path, number of parameters and the rest of both are those of the template."""
    check_place(url, *values)


@pytest.mark.parametrize("value", HOSTILE)
def test_no_hostile_value_leaves_its_place(value: str) -> None:
    check_place("https://h.test/v1/{id}/o-{type}/x?s={subject}&t=1", value, value, value)


def check_place(url: str, event_id: str, kind: str, subject: str) -> None:
    event = replace(EVENT, id=event_id, type=kind, subject=subject)
    try:
        path = path_of(url).filled(event)
    except UnsendableEventError:
        return
    plain = path_of(url).filled(EVENT)
    sent, expected = urlsplit(f"https://h.test{path}"), urlsplit(f"https://h.test{plain}")
    assert path.isascii()
    assert path.isprintable()
    assert (sent.netloc, sent.fragment) == (expected.netloc, "")
    assert sent.path.count("/") == expected.path.count("/")
    assert sent.query.count("&") == expected.query.count("&")
    # A server that decodes the path first, and then resolves it, stays below the fixed beginning.
    resolved = normpath(unquote(sent.path).replace("\\", "/"))
    assert f"{resolved}/".startswith("/v1/")  # `normpath` drops a slash at the end
    assert URL(f"https://h.test{path}", encoded=True).raw_path_qs == path
    if "s=" in url:
        assert URL(f"https://h.test{path}").query["s"] == subject


def test_the_text_of_a_header_keeps_all_other_braces() -> None:
    def filled(text: str) -> str:
        return template_of(text).with_flow("orders").filled(EVENT, str.upper)

    assert filled('{"a": {"b": "{id}"}}') == '{"a": {"b": "E-1"}}'
    assert filled("{{id} {3F25-04E0} {flow}") == "{id} {3F25-04E0} orders"
    assert filled("{type}{subject}") == "ORDER.PAID42"
    assert filled("100% {id}%s") == "100% E-1%s"


@pytest.mark.parametrize("text", ["{Subject}", "{name}", "{}", "a {_} b"])
def test_a_name_that_is_no_attribute_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\{subject\}"):
        template_of(text)


@given(rest=st.text(alphabet="{}idsubject/?#%2Ee.:@&=\\ \u00e4;", max_size=40))
@example(rest="/{id}?{id}#")
@example(rest="{id}@evil.test/")
@example(rest="\\{id}")
@example(rest="/%EE%80%80/{id}")
def test_any_url_is_a_template_or_refused(rest: str) -> None:
    """An accepted one keeps its host with any value, and refuses none that is harmless."""
    url = f"https://h.test{rest}"
    try:
        template = path_template_of(url)
    except ValueError:
        return
    if template is not None:
        sent = URL(f"https://h.test{template.with_flow('f').filled(EVENT)}", encoded=True)
        assert (sent.host, sent.user, sent.fragment) == ("h.test", None, "")
