"""A state-space student: a Llama whose attention is replaced by Mamba-2, distilled from the model it came from."""
