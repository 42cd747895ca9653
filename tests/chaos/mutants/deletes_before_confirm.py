"""A relay that deletes rows when their publishes are sent, before the confirms."""

from typing import Any

from eventflow_relay import relay
from eventflow_relay.__main__ import main
from eventflow_relay.judgement import Confirmed, Judgement, Published, judge


async def not_waiting(_: Any) -> None:
    """Wait for nothing."""


def hoping(published: Published, *, tries: int, max_tries: int) -> Judgement:
    """Take each publish that was started for a confirmed one."""
    return Confirmed() if published.error is None else judge(published, tries=tries, max_tries=max_tries)


if __name__ == "__main__":
    relay._until_resolved = not_waiting
    relay.judge = hoping  # type: ignore[attr-defined]
    main()
