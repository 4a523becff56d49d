"""Kernels inside programs without an event loop: the same calls as plain methods, on a thread of their own."""
