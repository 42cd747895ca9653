"""A Celery task that posts an event with requests. `celery -A benchmarks.peers.celery_app worker` runs it."""

import threading
from typing import Any

import requests
from celery import Celery

from benchmarks.peers.settings import AMQP_URL, TARGET_URL

app = Celery("peers", broker=AMQP_URL)
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_default_queue="peer.celery",
    task_default_queue_type="quorum",
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)
_sessions = threading.local()


@app.task(name="deliver", autoretry_for=(requests.RequestException,), retry_backoff=True)
def deliver(event: dict[str, Any]) -> None:
    """Post one event."""
    if not hasattr(_sessions, "session"):
        _sessions.session = requests.Session()
    _sessions.session.post(TARGET_URL, json=event, timeout=5).raise_for_status()
