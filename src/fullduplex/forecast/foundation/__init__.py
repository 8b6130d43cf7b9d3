"""Patch Transformers for time series, encoder-only and decoder-only (arXiv:2410.12360), small enough to study scaling."""
