"""Adds the API to an application."""

import json

from aiohttp import web

from eventflow_console.api.description import DESCRIPTION
from eventflow_console.api.openapi import document
from eventflow_console.api.operations import OPERATIONS, PREFIX


def add_api(app: web.Application) -> None:
    """Add the operations of the API to an application, and their description."""
    app[DESCRIPTION] = json.dumps(document()).encode()
    for operation in OPERATIONS:
        add = app.router.add_get if operation.method == "get" else app.router.add_post  # the first adds HEAD too
        add(PREFIX + operation.path, operation.handler)
