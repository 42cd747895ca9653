"""Figures, measured on the machine at hand."""
