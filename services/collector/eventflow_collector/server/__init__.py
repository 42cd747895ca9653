"""Processes, sockets and connections of the collector."""
