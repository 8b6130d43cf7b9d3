"""Model and data files: a catalogue as data, and how to get, verify and find them."""
