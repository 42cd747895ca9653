"""FastAPI, and Celery's `delay` for each request."""

from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.peers.celery_app import deliver
from benchmarks.peers.settings import PORT

app = FastAPI()


@app.post("/events", status_code=202)
def receive(event: dict[str, Any]) -> dict[str, str]:
    """Publish one event and answer when it is confirmed. `delay` blocks, so FastAPI runs this in a thread."""
    deliver.delay(event)
    return {"status": "accepted"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
