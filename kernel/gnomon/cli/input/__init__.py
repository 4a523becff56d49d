"""Input of commands: options, times, signals."""
