"""Peers: the same job with the usual Python libraries and in Go, each in one short program in its usual style.

They publish persistent messages to durable quorum queues and answer 202 when a publish is confirmed. They deliver 64
events at a time and ack each after a 2xx. They run like services: configured by the environment, those in Python in a
virtual environment of their own, on uvloop if they use asyncio.
"""
