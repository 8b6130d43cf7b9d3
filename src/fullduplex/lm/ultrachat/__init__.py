"""Duplex dialogues in time slices from any chat: the six kinds of Duplex-UltraChat (2406.15718) and one of ours."""
