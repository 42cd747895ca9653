"""Durable local buffer for events that the broker cannot confirm now."""
