"""The OpenAI Realtime event protocol, as pure values: what clients say, what they are told, what may be set."""
