"""Operations on a flow: look, find an event, pause, set a rate, browse and replay dead letters.

The command `eventflow` and the console call it. It displays nothing.
"""
