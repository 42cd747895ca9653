"""Settings of a peer, from its environment."""

import os

AMQP_URL = os.environ["PEER_AMQP_URL"]
PORT = int(os.environ.get("PEER_PORT", "0"))
TARGET_URL = os.environ.get("PEER_TARGET_URL", "")
CONCURRENCY = 64
