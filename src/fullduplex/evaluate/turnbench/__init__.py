"""The TurnBench protocol (2608.25218): consensus gold, event-anchored scoring, threshold sweep."""
