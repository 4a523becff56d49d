"""Moving a log from one store to another: its export to a file, and its import from there."""
