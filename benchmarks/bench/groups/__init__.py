"""Groups of measurements, one in each module."""
