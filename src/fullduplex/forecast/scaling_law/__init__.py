"""Laws of how a loss falls with parameters, data or compute, fitted with their uncertainty or refused."""
