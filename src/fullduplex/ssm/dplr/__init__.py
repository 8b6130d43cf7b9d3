"""Diagonal plus low rank: the discrete system of S4, its kernel and its recurrence."""
