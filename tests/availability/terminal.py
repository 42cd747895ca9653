"""What both commands do with their terminal: lines about the progress, and an end that leaves nothing behind."""

import asyncio
import signal
import time

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def show(line: str) -> None:
    """Print a line about the progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def cancel_at_signals() -> None:
    """Let the first SIGINT or SIGTERM cancel the current task, which then removes everything; a second one kills."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        show("interrupted; removing everything")
        task.cancel()
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, cancel)
