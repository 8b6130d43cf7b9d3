"""Links: what a quantum repeater chain or network can carry at most. NumPy only."""
