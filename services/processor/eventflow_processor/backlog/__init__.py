"""Backlog of a flow: its size, age and order, and the time until it is gone."""
