"""A decoder of the Llama family on quantised weights, compiled once on the machine it runs on. No torch."""
