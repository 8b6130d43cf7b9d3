"""Who speaks next: a state tracker over the two channels of a conversation."""
