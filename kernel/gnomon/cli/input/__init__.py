"""How commands read options, moments and signals."""
