"""Orders through the server: their senders, and the process that leads."""
