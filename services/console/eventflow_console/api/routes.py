"""Adds the API to an application."""

import json

from aiohttp import web

from eventflow_console.api.description import DESCRIPTION
from eventflow_console.api.openapi import document
from eventflow_console.api.operations import OPERATIONS, PREFIX
from eventflow_console.api.streams import ROWS, RowStreams
from eventflow_console.metrics import ConsoleMetrics


def add_api(app: web.Application, metrics: ConsoleMetrics) -> None:
    """Add the operations of the API, and all that they need, to an application."""
    app[DESCRIPTION] = json.dumps(document()).encode()
    app[ROWS] = RowStreams(metrics)
    for operation in OPERATIONS:
        add = app.router.add_get if operation.method == "get" else app.router.add_post  # the first adds HEAD too
        add(PREFIX + operation.path, operation.handler)
