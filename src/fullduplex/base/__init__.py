"""Errors, units, clocks, configuration and records: the standard library and NumPy types only."""
