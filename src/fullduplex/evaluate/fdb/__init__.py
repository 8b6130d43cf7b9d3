"""Full-Duplex-Bench v1 (2503.04721) as printed and as released, and the timing and behaviour classes of v1.5."""
