"""Fine-tuning of Llama-architecture models: weights in, adapter out."""
