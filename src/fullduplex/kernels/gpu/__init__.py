"""Triton kernels, imported only when a tensor on a GPU asks for them."""
