"""Audit of the shared quota: any number of processors together must keep it, measured with the target's clock.

    python -m benchmarks.rate_audit
    python -m benchmarks.rate_audit --scenario steady --rate 50 --processors 4 --seconds 30

Everything is real and on this machine: a private RabbitMQ, processors as processes, and the sandbox's target.
docs/rate-limiting.md explains the table.
"""
