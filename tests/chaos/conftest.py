"""Fixtures of the chaos tests."""

import os
import random

import pytest

GIVEN_SEED = os.environ.get("CHAOS_SEED")


@pytest.fixture
def seed() -> int:
    """CHAOS_SEED, or a random seed, which pytest shows if the test fails."""
    chosen = int(GIVEN_SEED) if GIVEN_SEED else random.randrange(1_000_000)
    print(f"CHAOS_SEED={chosen}")
    return chosen
