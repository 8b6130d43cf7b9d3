"""Anomalies in series: a detector of live streams, the scorer of a public benchmark, measures that are hard to flatter."""
