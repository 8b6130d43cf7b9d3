"""Simulated callers and rooms, and the yardsticks of duplex dialogue."""
