"""Backlog of a flow: its size, age and order, and when it will be gone."""
