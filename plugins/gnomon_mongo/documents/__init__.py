"""Documents: those of the log, those of other programs beside them, and those that a server has rejected."""
