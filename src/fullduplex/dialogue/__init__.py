"""The full-duplex dialogue core: no I/O, no clock, no threads, no torch."""
