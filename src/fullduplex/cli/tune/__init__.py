"""`fullduplex tune`: a chat model learns time slices."""
