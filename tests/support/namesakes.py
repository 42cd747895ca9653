"""A processor as in a container on its host's network: its host name and process id are those of all others."""

import os
import socket

from eventflow_processor.__main__ import main

if __name__ == "__main__":
    os.getpid = lambda: 1
    socket.gethostname = lambda: "host"
    main()
