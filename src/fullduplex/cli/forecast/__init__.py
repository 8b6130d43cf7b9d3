"""`fullduplex forecast`."""
