"""The machine's side: replies, speculation, playback."""
