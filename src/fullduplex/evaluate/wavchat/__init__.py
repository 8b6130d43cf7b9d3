"""WavChat (2411.13577) as data: the taxonomy, its metrics with directions, and what published systems can do."""
