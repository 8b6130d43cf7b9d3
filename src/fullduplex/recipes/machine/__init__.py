"""This machine: what is installed, how fast it is, what it would be as a device."""
