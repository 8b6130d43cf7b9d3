"""Ears and voices: voice activity, recognition, end of turn, echo, synthesis."""
