"""The same job done with what a Python team would reach for, each as most would write it, in one short program.

They publish persistent messages to durable quorum queues and answer 202 once a publish is confirmed; they deliver 64
events at a time and ack each after a 2xx. They run in a virtual environment of their own, as services do: configured
by the environment, on uvloop where asyncio runs.
"""
