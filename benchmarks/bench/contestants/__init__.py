"""The measured programs: their start, and their known figures on a machine with 2 cores.

Our services run as in production: with an API key, metrics, JSON logs, and traces of 1 % of the events.
"""
