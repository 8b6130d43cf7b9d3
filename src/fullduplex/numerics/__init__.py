"""Pure NumPy functions."""
