"""Output on the terminal: tables, reports, progress, log lines, JSON."""
