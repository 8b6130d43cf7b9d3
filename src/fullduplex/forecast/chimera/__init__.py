"""Chimera: two-dimensional selective state spaces over (time, variates), arXiv 2406.04320."""
