"""Who speaks when: interchangeable policies behind one protocol."""
