"""Pictures of layers and of perturbed matrices."""
