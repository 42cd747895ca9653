"""Attributes of events, as property tests draw them."""

import string
from collections.abc import Mapping

from hypothesis import strategies as st

from eventflow.event import TEXT_MAX_BYTES, is_valid_attribute, is_valid_text
from eventflow.extensions import extensions_of, is_extension_name
from eventflow.forwarded import Parts, is_forwardable, is_forwardable_value

PRINTABLE = st.characters(exclude_categories=["C", "Z"]) | st.just(" ")
"""Of any other text, nearly all is no attribute, and would be drawn only to be dropped."""


def attributes(*, max_size: int = 60) -> st.SearchStrategy[str]:
    """Draw attributes of up to `max_size` characters."""
    return st.text(PRINTABLE, min_size=1, max_size=max_size).filter(is_valid_attribute)


def texts(*, max_size: int = 60) -> st.SearchStrategy[str]:
    """Draw attributes other than ids and types; some of them are as long as they may be."""
    characters = st.characters(exclude_categories=["Cs", "Cc"])
    short = st.text(characters, min_size=1, max_size=max_size).filter(is_valid_text)
    return short | st.sampled_from(["x" * TEXT_MAX_BYTES, "\u202f.png", "\N{GRINNING FACE}" * (TEXT_MAX_BYTES // 4)])


def extensions() -> st.SearchStrategy[Mapping[str, str] | None]:
    """Draw extension attributes."""
    names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(is_extension_name)
    return st.none() | st.dictionaries(names, texts(), min_size=1, max_size=5).map(
        lambda given: extensions_of(given.items())
    )


def parts() -> st.SearchStrategy[Parts]:
    """Draw parts of requests that can be forwarded."""
    names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20).filter(is_forwardable)
    values = st.text(max_size=30).filter(is_forwardable_value)
    queries = st.text('abc=&%+?/"\\', max_size=30)
    return st.builds(
        Parts, headers=st.dictionaries(names, values, max_size=5), query=queries, left_out=st.integers(0, 9)
    )
