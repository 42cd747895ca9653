"""The name of a running process, for its peers and for operators."""

import os
import re
import secrets
import socket

HOST_MAX_CHARACTERS = 64


def name_instance(program: str) -> str:
    """Return a new name for this process: `{program}@{host}:{pid}:{random}`.

    It has at most 120 ASCII characters, all of which are allowed in names of AMQP. Each call returns another name. The
    random part distinguishes processes of containers, which may have the same host name and process id.
    """
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:HOST_MAX_CHARACTERS]
    return f"{program}@{host}:{os.getpid()}:{secrets.token_hex(4)}"
