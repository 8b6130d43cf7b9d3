"""fullduplex: machines that listen while they speak.

Importing this package does nothing else: no family, no torch, no model is loaded.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
