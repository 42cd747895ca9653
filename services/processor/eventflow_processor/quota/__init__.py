"""Quota: the rate that a flow may use, and the share of this processor."""
