"""From measured times to the constants of a device: matrix products, this machine, a real model on it."""
