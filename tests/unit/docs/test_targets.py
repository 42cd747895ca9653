"""The examples of docs/targets.md."""

import re
import tomllib
from pathlib import Path

import pytest

from eventflow.settings.root import FlowSettings
from eventflow_processor.target.oauth2.grant import Grant
from eventflow_processor.target.request import request_form, static_headers

EXAMPLES = re.findall(r"^## (.*?)\n+```toml\n(.*?)```", Path("docs/targets.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("toml", [toml for _, toml in EXAMPLES], ids=[title for title, _ in EXAMPLES])
def test_each_example_is_accepted(toml: str) -> None:
    target = FlowSettings.model_validate(tomllib.loads(toml)["flows"]["orders"]).target
    request_form(target, flow="orders")
    static_headers(target, flow="orders")
    assert (Grant.of(target) is None) == (target.oauth2_token_url is None)
    assert target.proxy is None or target.http_proxy is not None


def test_each_feature_has_an_example() -> None:
    assert len(EXAMPLES) == 5
