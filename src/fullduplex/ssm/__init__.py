"""State-space models: memories with a closed form, and layers made of them."""
