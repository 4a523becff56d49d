"""Kernels inside programs without an event loop: the same calls as plain methods, in a thread beside it."""
