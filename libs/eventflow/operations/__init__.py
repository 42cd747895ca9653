"""The work of an operator on a flow: look, find, pause, set a rate, browse and replay dead letters.

The command `eventflow` and the console call it. It displays nothing.
"""
