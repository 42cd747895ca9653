"""The page about senders agrees with the table of senders, with the vocabulary, and with the reasons of refusals."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from eventflow.senders.reading import read_senders
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Answer, Certificate, Condition, Ed25519, Handshake, Hmac, Sender, Text, Time
from eventflow_collector.senders.flaw import Flaw

PAGE = Path("docs/sources.md").read_text()
OWN = PAGE.partition("\n## Your own sender\n")[2].partition("\n## CloudEvents\n")[0]
EXAMPLES = [toml for toml in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[senders." in toml]


@pytest.mark.parametrize("toml", EXAMPLES)
def test_each_described_sender_is_accepted(toml: str) -> None:
    tables = tomllib.loads(toml)["senders"]
    completed = {name: {"authentication": {"scheme": "basic"}, **table} for name, table in tables.items()}
    assert read_senders(completed).keys() == tables.keys()


def test_the_table_has_each_sender_in_the_order_of_the_names() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.partition("\n## Setup of each sender\n")[0], re.MULTILINE)
    assert rows == sorted(SENDERS)


@pytest.mark.parametrize(
    "part",
    [Answer, Certificate, Condition, Ed25519, Handshake, Hmac, Sender, Text, Time],
    ids=lambda part: part.__name__,
)
def test_each_key_of_the_vocabulary_is_explained(part: type) -> None:
    names = {field.name for field in fields(part)} - {"scheme", "name"}  # type: ignore[arg-type]  # all are dataclasses
    assert {name for name in names if not re.search(rf"`{name}`|\b{name} = ", OWN)} == set()


def test_each_flaw_of_a_request_is_explained() -> None:
    rows = PAGE.partition("\n## Refused requests\n")[2].partition("\n## ")[0].splitlines()
    reasons = set(re.findall(r"`([a-z_]+)`", "".join(row.split("|")[1] for row in rows if row.startswith("| `"))))
    assert {flaw.value for flaw in Flaw} <= reasons
