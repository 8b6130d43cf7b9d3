"""Wire systems, ears and judges to the yardstick in `evaluate`."""
