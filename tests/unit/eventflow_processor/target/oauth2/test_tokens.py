"""The token of a target: one fetch at a time, before the end of the last token, and after a refusal."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import pytest

from eventflow_processor.target.oauth2.grant import NoToken, Token
from eventflow_processor.target.oauth2.tokens import FAILED_PAUSE_S, REFUSED_PAUSE_S, RENEWED_BEFORE_S, Tokens
from eventflow_processor.target.request import Bearer
from tests.support.wait import eventually


class Stage:
    """Tokens over answers that a test gives, and a clock that it sets."""

    def __init__(self, answers: Iterable[Token | NoToken] = ()) -> None:
        self.now_s = 1000.0
        self.answers = list(answers)
        self.fetches = 0
        self.hidden: list[str] = []
        self.awaited: list[bool] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.tokens = Tokens(
            self.fetch,
            flow="f",
            bearer=Bearer(),
            hide=self.hidden.append,
            on_awaited=self.awaited.append,
            clock=lambda: self.now_s,
        )

    async def fetch(self) -> Token | NoToken:
        self.fetches += 1
        await self.gate.wait()
        return self.answers.pop(0)


def token(number: int, lifetime_s: float = 3600) -> Token:
    return Token(value=f"t{number}", lifetime_s=lifetime_s)


async def test_all_attempts_share_one_fetch() -> None:
    stage = Stage([token(1)])
    stage.gate.clear()
    assert not stage.tokens.is_usable()
    waiting = [asyncio.create_task(stage.tokens.renewed()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    stage.gate.set()
    assert set(await asyncio.gather(*waiting[1:])) == {token(1)}, "one that gives up ends no other's"
    assert (stage.fetches, stage.hidden) == (1, ["t1"])
    assert stage.tokens.is_usable()


async def test_a_wait_that_begins_as_a_fetch_ends_has_its_token() -> None:
    """Another fetch would revoke this token at an endpoint that keeps one valid."""
    stage = Stage([token(1)])
    stage.gate.clear()
    first = asyncio.create_task(stage.tokens.renewed())
    await asyncio.sleep(0.01)
    stage.gate.set()
    assert not stage.tokens.is_usable()
    late = asyncio.create_task(stage.tokens.renewed())
    assert await asyncio.gather(first, late) == [token(1)] * 2
    assert stage.fetches == 1


@pytest.mark.parametrize("answers", [[token(1)], [NoToken(text="HTTP 503")], []])
async def test_a_token_is_awaited_from_the_moment_it_is_missing_to_the_end_of_its_fetch(
    answers: list[Token | NoToken],
) -> None:
    stage = Stage(answers)
    assert not stage.tokens.is_usable()
    assert stage.awaited == [True], "at once, and not in a later step"
    with suppress(IndexError):
        await stage.tokens.renewed()
    assert stage.awaited == [True, False]


async def test_a_token_is_awaited_if_it_is_refused_while_the_next_one_is_fetched() -> None:
    stage = Stage([token(1), token(2)])
    await stage.tokens.renewed()
    stage.now_s += 3600 - RENEWED_BEFORE_S
    stage.gate.clear()
    assert stage.tokens.is_usable()
    stage.awaited.clear()
    assert stage.tokens.refuse("t1")
    assert not stage.tokens.is_usable()
    assert stage.awaited == [True]
    stage.gate.set()
    assert await stage.tokens.renewed() == token(2)
    assert (stage.awaited, stage.fetches) == ([True, False], 2)


async def test_a_token_is_replaced_before_it_ends_and_used_meanwhile() -> None:
    stage = Stage([token(1), token(2)])
    await stage.tokens.renewed()
    stage.now_s += 3600 - RENEWED_BEFORE_S - 1
    assert stage.tokens.is_usable()
    stage.now_s += 1
    stage.gate.clear()
    for _ in range(3):
        assert stage.tokens.is_usable()
    await eventually(lambda: stage.fetches == 2, what="the fetch")
    assert stage.tokens.bearer.token == "t1"
    stage.gate.set()
    await eventually(lambda: stage.tokens.bearer.token == "t2", what="the fetch")
    assert stage.tokens.is_usable()


async def test_a_token_that_has_ended_is_not_sent() -> None:
    stage = Stage([token(1, lifetime_s=10), token(2, lifetime_s=10)])
    await stage.tokens.renewed()
    stage.now_s += 10
    assert not stage.tokens.is_usable()
    assert await stage.tokens.renewed() == token(2, lifetime_s=10)


async def test_a_failed_renewal_leaves_the_present_token_in_use() -> None:
    stage = Stage([token(1, lifetime_s=100), NoToken(text="HTTP 503"), token(2)])
    await stage.tokens.renewed()
    stage.now_s += 85
    assert stage.tokens.is_usable()
    await eventually(lambda: stage.answers == [token(2)], what="the fetch")
    await asyncio.sleep(0)
    assert stage.tokens.is_usable()
    assert stage.fetches == 2, "not at once again"
    stage.now_s += FAILED_PAUSE_S
    assert stage.tokens.is_usable()
    await eventually(lambda: stage.tokens.bearer.token == "t2", what="the fetch")


async def test_an_endpoint_that_is_down_is_asked_once_a_second() -> None:
    stage = Stage([NoToken(text="HTTP 503"), token(1)])
    for _ in range(10):
        assert await stage.tokens.renewed() == NoToken(text="HTTP 503")
        assert not stage.tokens.is_usable()
    assert stage.fetches == 1
    assert stage.awaited == [False], "an attempt fails at once meanwhile"
    stage.now_s += FAILED_PAUSE_S
    assert await stage.tokens.renewed() == token(1)


async def test_a_refused_token_is_replaced_once() -> None:
    stage = Stage([token(1), token(2), token(3)])
    await stage.tokens.renewed()
    assert stage.tokens.refuse("t1")
    assert not stage.tokens.is_usable()
    assert stage.tokens.refuse("t1"), "each attempt with this token repeats its request"
    await stage.tokens.renewed()
    assert stage.tokens.refuse("t1"), "an attempt that began before"
    assert stage.tokens.is_usable(), "the new one is not concerned"
    assert not stage.tokens.refuse("t2"), "a target that refuses every token is not helped by another one"
    assert stage.tokens.is_usable()
    stage.now_s += REFUSED_PAUSE_S
    assert stage.tokens.refuse("t2")
    assert stage.fetches == 2


async def test_an_error_of_our_own_is_raised_and_not_kept() -> None:
    stage = Stage()
    with pytest.raises(IndexError):
        await stage.tokens.renewed()
    stage.answers = [token(1)]
    assert await stage.tokens.renewed() == token(1)
