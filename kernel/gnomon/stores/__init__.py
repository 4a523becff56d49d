"""The in-memory store, and helpers that stores share."""
