"""Observers of attempts: log, metrics, traces, and the memory behind `eventflow why`."""
