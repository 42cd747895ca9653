"""No text in any setting ends in anything but an error of one line for each setting that is wrong."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventflow.errors import SettingsError
from eventflow.management.api import Management
from eventflow.settings.auto import concurrency_of, prefetch_of
from eventflow.settings.load import load
from eventflow.settings.roles import Role, is_used
from eventflow.settings.root import FlowSettings, Settings
from eventflow.telemetry.tracers import ENDPOINT_VARIABLES, require_endpoints
from eventflow.topology import flow_specs, ingest_specs
from eventflow_collector.guards import require_safe_exposure
from eventflow_collector.intake.flow import flow_of
from eventflow_processor.guards import require_target_urls
from eventflow_processor.retry import held_max_s
from eventflow_processor.target.aiohttp_client import AiohttpTarget
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.lean.client import LeanTarget
from eventflow_processor.target.request import request_form
from eventflow_processor.target.success import success_rule

SECTIONS = ("broker", "collector", "processor", "source", "target", "telemetry")
NAMES = [
    f"{section}.{field}"
    for section in SECTIONS
    for field in (
        FlowSettings.model_fields[section].annotation
        if section in FlowSettings.model_fields
        else Settings.model_fields[section].annotation
    ).model_fields
]
ODD_TEXTS = [
    *(
        "",
        " ",
        '""',
        "''",
        '"5"',
        "${X}",
        "$X",
        "~",
        "~/x",
        "null",
        "true",
        "-1",
        "0",
        "1e400",
        "nan",
        "-inf",
        "9" * 5000,
    ),
    *(
        "1_0",
        "\u0665",
        "0x10",
        "5s",
        ",",
        "1,,2",
        "[",
        "[[]]",
        '["a"',
        "{",
        '{"a": 1}',
        '{"a": {"b": "c"}}',
        "[" * 5000,
    ),
    *(
        "http://h:99999/",
        "http://.x/",
        "http://" + "a" * 64 + "/",
        "http://a b/",
        "http://[::1",
        "http://[fe80::1%" + "z" * 99,
    ),
    *(
        "http://" + "\u00fc" * 63 + ".de/",
        "http://h/\udcff",
        "http://${HOST}/",
        "http://u:p@h/",
        "amqp://h:99999/",
        "amqp://../",
    ),
    *(
        "amqp://h/?cadata=x",
        "amqp://h:${PORT}/",
        "amqp://h/%zz",
        "amqps://h?x",
        "/",
        "/nowhere",
        "/" + "x" * 5000,
        "/a\0b",
    ),
    *(
        "200-",
        "/a~2",
        "a\nb",
        "\x7f",
        "\udcff",
        "\ufeff1",
        "whsec_x",
        "\u202e",
        "*",
        "::",
        "[::]",
        "..",
        "h:1",
        "::1%" + "y" * 99,
    ),
]
odd_text = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=30))


@pytest.fixture(autouse=True, scope="module")
def _in_an_empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("empty"))
    yield
    os.chdir(before)


def check_start(role: Role, config: Path | None = None) -> None:
    """Do with the settings all that the programs do with them at their start, short of connecting.

    Raises:
        SettingsError: One is wrong.
    """
    settings = load(config, role)
    Management.of(settings.broker.management_url, settings.broker.urls[0])
    match role:
        case Role.COLLECTOR:
            require_safe_exposure(settings)
            for name in settings.all_flows:
                flow_of(name, settings)
                ingest_specs(name)
        case Role.PROCESSOR:
            require_target_urls(settings)
            for name, flow in settings.served_flows.items():
                check_flow(name, flow, configured_prefetch=settings.processor.prefetch)


def check_flow(name: str, flow: FlowSettings, *, configured_prefetch: int | None) -> None:
    target = flow.target
    {"lean": LeanTarget, "aiohttp": AiohttpTarget}[target.client](
        url=target.url or "",
        form=request_form(target),
        headers={name: value.get_secret_value() for name, value in target.headers.items()},
        timeout_s=target.timeout_s,
        feedback=FeedbackReader(mode=target.feedback, cost=target.cost),
        success=success_rule(target),
    )
    flow_specs(name, target.retry_delays_s)
    prefetch_of(target, configured=configured_prefetch, max_body_bytes=flow.source.max_body_bytes)
    assert held_max_s(target) > 0
    assert concurrency_of(target) > 0


def refusal_of(role: Role, config: Path | None = None) -> str | None:
    """Return the error, which has a line for each setting that is wrong; None if there is none."""
    try:
        check_start(role, config)
    except SettingsError as error:
        for line in str(error).split("\n"):
            assert line.isprintable(), ascii(line)
            assert len(line) < 1000
        return str(error)
    return None


def variables(name: str, text: str, *, is_file: bool = False) -> dict[str, str]:
    sound = {"EVENTFLOW_SOURCE__API_KEYS": "sound-key", "EVENTFLOW_TARGET__URL": "http://sound/"}
    variable = f"EVENTFLOW_{name.replace('.', '__').upper()}"
    others = {key: value for key, value in sound.items() if key != variable}
    return {**others, f"{variable}_FILE" if is_file else variable: text}


@pytest.mark.parametrize("name", NAMES)
def test_no_odd_text_in_a_variable_is_more_than_an_error_of_one_line(name: str) -> None:
    """Reproduced on 0.1.0: 146 to 371 lines of traceback for a port of 99999, and for an empty label of a host."""
    roles = [role for role in Role if is_used(role, *name.split("."))]
    for text in ODD_TEXTS:
        with suppress(ValueError), patch.dict(os.environ, variables(name, text)):  # a null byte is for files only
            for role in roles:
                error = refusal_of(role)
                assert error is None or len(error.splitlines()) <= 1 + text.count(",")


@given(name=st.sampled_from(NAMES), text=odd_text, role=st.sampled_from(list(Role)), is_bare=st.booleans())
def test_no_text_in_a_toml_file_is_more_than_an_error_of_one_line(
    name: str, text: str, role: Role, is_bare: bool
) -> None:
    section, field = name.split(".")
    path = Path("fuzzed.toml")
    value = text if is_bare else json.dumps(text)
    path.write_bytes(f"[{section}]\n{field} = {value}\n".encode(errors="surrogatepass"))
    refusal_of(role, path)


@given(
    name=st.sampled_from(NAMES),
    content=st.one_of(odd_text.map(lambda text: text.encode(errors="replace")), st.binary()),
)
def test_nothing_in_a_file_that_a_variable_names_is_more_than_an_error_of_one_line(name: str, content: bytes) -> None:
    path = Path("fuzzed").absolute()
    path.write_bytes(content)
    with patch.dict(os.environ, variables(name, str(path), is_file=True)):
        for role in Role:
            refusal_of(role)


@given(
    name=st.text(st.characters(exclude_characters="=\0", codec="utf-8"), max_size=30).map("EVENTFLOW_{}".format),
    text=odd_text.filter(lambda text: "\0" not in text),
)
@example(name="EVENTFLOW_FLOWS", text="x")
@example(name="EVENTFLOW_FLOWS__A", text="x")
@example(name="EVENTFLOW_FLOWS__A__TARGET", text="x")
@example(name="EVENTFLOW_TARGET__URL__X", text="x")
@example(name="EVENTFLOW_FLOWS__default__TARGET__URL", text="http://h/")
def test_no_name_is_more_than_an_error_of_one_line(name: str, text: str) -> None:
    with patch.dict(os.environ, {name: text}):
        for role in Role:
            refusal_of(role)


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "url", "source", "target"]), inner, max_size=3)
        ),
    ),
    place=st.sampled_from([*NAMES, *SECTIONS, "flows", "flows.a", "flows.a.target", "flows.a.target.url"]),
)
def test_no_value_of_another_kind_is_more_than_an_error_of_one_line(document: object, place: str) -> None:
    path = Path("fuzzed.toml")
    path.write_text(f"{place} = {toml(document)}\n")
    for role in Role:
        refusal_of(role, path)


def toml(value: object) -> str:
    """Write a value as TOML does; there is no null, and a date has no other way in."""
    match value:
        case None:
            return "1979-05-27T07:32:00Z"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return "{" + ", ".join(f"{key} = {toml(part)}" for key, part in value.items()) + "}"
        case float():
            return f"{value:f}"
        case _:
            return json.dumps(value)


@pytest.mark.parametrize("variable", ENDPOINT_VARIABLES)
@given(text=odd_text)
def test_no_endpoint_of_traces_is_more_than_an_error_of_one_line(variable: str, text: str) -> None:
    with suppress(SettingsError):
        require_endpoints({variable: text})
