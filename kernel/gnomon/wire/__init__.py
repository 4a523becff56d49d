"""The records that cross HTTP and WebSockets, for the server and its clients alike."""
