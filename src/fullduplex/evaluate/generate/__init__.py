"""Two-party dialogues with exact labels: planned as spans, rendered as sound, cut into benchmark items."""
