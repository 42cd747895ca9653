"""The collector without metrics: what telemetry costs is measured against it."""

from prometheus_client import Counter, Gauge, Histogram

from collector.__main__ import main


def _nothing(*_: object, **__: object) -> None: ...


for method, kinds in {"inc": (Counter, Gauge), "dec": (Gauge,), "set": (Gauge,), "observe": (Histogram,)}.items():
    for kind in kinds:
        setattr(kind, method, _nothing)

if __name__ == "__main__":
    main()
