"""What crosses HTTP and WebSockets: one definition for the server and for its clients."""
