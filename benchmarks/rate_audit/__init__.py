"""Whether any number of processors together keep one quota, judged at the target's clock.

    python -m benchmarks.rate_audit
    python -m benchmarks.rate_audit --scenario steady --rate 50 --processors 4 --seconds 30

Everything is real and on this machine: a private RabbitMQ, processors as processes of their own, the sandbox's target.
docs/rate-limiting.md tells how to read the table.
"""
