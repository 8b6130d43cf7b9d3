"""The user's side: frames, voice activity, transcript."""
