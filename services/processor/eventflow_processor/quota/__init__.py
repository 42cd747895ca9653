"""Quota: the rate that a flow may have, and the share of this processor."""
