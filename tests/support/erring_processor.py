"""A processor with a bug, which fails for some events before it sends anything.

It fails for each event with the word `poison` in its id, and for all events while the file exists that the environment
variable `erring` names.
"""

import os
from datetime import datetime
from pathlib import Path

from eventflow.message import Envelope
from eventflow_processor import flow
from eventflow_processor.__main__ import main
from eventflow_processor.target.request import RequestForm, TargetRequest


class BugError(Exception):
    """Nothing in the project expects it."""


class Erring(RequestForm):
    """Writes no request for some events."""

    def request_for(self, envelope: Envelope, *, now: datetime) -> TargetRequest:
        switch = Path(os.environ["erring"])  # noqa: SIM112 - lower case, so that it gets no prefix of ours
        if "poison" in envelope.event.id or switch.exists():
            raise BugError("its text may hold a secret")
        return super().request_for(envelope, now=now)


if __name__ == "__main__":
    flow.request_form = lambda *_, **__: Erring()
    main()
