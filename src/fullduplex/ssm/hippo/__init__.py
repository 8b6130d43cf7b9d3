"""HiPPO: what a linear system remembers, how far back, and how to read it out again. NumPy only."""
