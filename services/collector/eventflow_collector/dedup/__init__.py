"""Repeated events: an id that was accepted lately is accepted again without a second publish (ADR 33)."""
