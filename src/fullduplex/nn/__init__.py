"""The streaming contract and the layers that two families share."""
