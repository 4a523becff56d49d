"""The rows of the log, and the checksums of rows."""
