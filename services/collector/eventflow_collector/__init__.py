"""Accepts events over HTTP, and answers 202 after they are stored durably."""
