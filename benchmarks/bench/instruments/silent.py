"""The collector with metrics that record nothing, as the base line for the cost of telemetry."""

import runpy

from prometheus_client import Counter, Gauge

from eventflow.telemetry.histogram import Histogram

_METHODS = {Counter: ("inc",), Gauge: ("inc", "dec", "set"), Histogram: ("observe",)}


def _ignore(*_: object, **__: object) -> None: ...


if __name__ == "__main__":
    for kind, methods in _METHODS.items():
        for method in methods:
            setattr(kind, method, _ignore)
    runpy.run_module("eventflow_collector", run_name="__main__", alter_sys=True)
