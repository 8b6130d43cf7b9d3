"""Functions that wire families together and return a ready object."""
