"""A service with metrics that record nothing, as the base line for the cost of telemetry.

python -m benchmarks.bench.instruments.silent eventflow_collector
"""

import runpy
import sys

from prometheus_client import Counter, Gauge

from eventflow.telemetry.histogram import Histogram

_METHODS = {Counter: ("inc",), Gauge: ("inc", "dec", "set"), Histogram: ("observe",)}


def _ignore(*_: object, **__: object) -> None: ...


if __name__ == "__main__":
    for kind, methods in _METHODS.items():
        for method in methods:
            setattr(kind, method, _ignore)
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
