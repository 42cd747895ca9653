"""The name of a running process, as its peers and an operator see it."""

import os
import re
import secrets
import socket

HOST_MAX_CHARACTERS = 64


def name_instance(role: str) -> str:
    """Name this process: `{role}@{host}:{pid}:{random}`, at most 120 ASCII characters that any AMQP name may contain.

    Processes of containers can agree on host and process id, so a random part tells them apart. Each call makes another
    name.
    """
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:HOST_MAX_CHARACTERS]
    return f"{role}@{host}:{os.getpid()}:{secrets.token_hex(4)}"
