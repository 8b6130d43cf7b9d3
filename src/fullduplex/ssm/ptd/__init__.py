"""Perturb, then diagonalise: PTD for any matrix, and what it does to HiPPO (arXiv 2310.01698)."""
