"""The adaptive echo filter, compiled once on the machine it runs on. No torch."""
