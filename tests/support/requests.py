"""Requests as the engine of senders reads them."""

from collections.abc import Mapping

from multidict import CIMultiDict

from eventflow_collector.head import Head
from eventflow_collector.senders.request import Request


def request_of(
    headers: Mapping[str, str], body: bytes = b"", *, method: str = "POST", sub_path: str = "", query: str = ""
) -> Request:
    head = Head(method=method, flow="f", sub_path=sub_path, query=query, headers=CIMultiDict(headers))
    return Request(head, body)
