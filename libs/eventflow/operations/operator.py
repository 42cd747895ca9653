"""Name of the person who runs the command, which other operators see beside a pause."""

import getpass
import os
import socket

PART_MAX_CHARACTERS = 50


def operator() -> str:
    """Return `user@host`. A user without a name, as in a container, is shown by the number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the error depends on the version of Python
        user = f"uid-{os.getuid()}"
    parts = (user, socket.gethostname())
    return "@".join("".join(c if c.isprintable() else "?" for c in part)[:PART_MAX_CHARACTERS] for part in parts)
