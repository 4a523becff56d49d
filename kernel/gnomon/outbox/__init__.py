"""Messages about events of the log, each delivered at least once: an outbox for plugins that notify other systems."""
