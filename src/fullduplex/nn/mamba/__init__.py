"""Mamba and Mamba-2: selective state spaces as streams."""
