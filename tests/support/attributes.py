"""Attributes of events, as property tests draw them."""

from hypothesis import strategies as st

from eventflow.event import is_valid_attribute

PRINTABLE = st.characters(exclude_categories=["C", "Z"]) | st.just(" ")
"""Of any other text, nearly all is no attribute, and would be drawn only to be dropped."""


def attributes(*, max_size: int = 60) -> st.SearchStrategy[str]:
    """Draw attributes of up to `max_size` characters."""
    return st.text(PRINTABLE, min_size=1, max_size=max_size).filter(is_valid_attribute)
