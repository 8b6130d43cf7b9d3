"""Who spoke when: spans, words, the statistics of a conversation and their pictures."""
