"""English as it is read aloud: text to words, words to phonemes. No model, no GPL code, any Unicode."""
